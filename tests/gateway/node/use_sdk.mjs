// What an application does with the stock SDK; all it changes is OPENAI_BASE_URL and OPENAI_API_KEY.
// Prints what it was given as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const hello = { model: "chat-model", messages: [{ role: "user", content: "Hello" }] };
const weather = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { town: { type: "string" } } } },
};
const question = { role: "user", content: 'call weather with {"town": "Bern"}' };

async function whole() {
  const { data, response } = await client.chat.completions.create({ ...hello, user: "customer-17" }).withResponse();
  return { completion: data, arm: response.headers.get("x-sluice-arm"), call: response.headers.get("x-sluice-call") };
}

async function streamed() {
  const stream = client.chat.completions.stream({ ...hello, stream_options: { include_usage: true } });
  let pieces = "";
  stream.on("content", (piece) => (pieces += piece));
  return { completion: await stream.finalChatCompletion(), pieces };
}

async function tools() {
  const asked = { model: "chat-model", tools: [weather], messages: [question] };
  const first = await client.chat.completions.create(asked);
  const { message } = first.choices[0];
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: '{"sky": "clear"}' };
  const second = await client.chat.completions.create({ ...asked, messages: [question, message, result] });
  return { first, second };
}

async function refused() {
  try {
    await client.chat.completions.create({ ...hello, model: "nope" });
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
}

async function models() {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return ids;
}

const seen = {};
for (const step of [whole, streamed, tools, refused, models]) seen[step.name] = await step();
console.log(JSON.stringify(seen));
