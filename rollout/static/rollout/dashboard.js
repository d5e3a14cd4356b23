// Draws the dashboard's charts, writes their tables where somebody opens them, and keeps both up as htmx brings new figures.
// All else is HTML that comes from the server.

const live = document.getElementById("dashboard-live");
const stale = document.getElementById("dashboard-stale");
const charts = new Map();
// What the page knows: the labels and marks of all charts, and each one's lines by its key.
let labels = [];
let marked = [];
let specs = new Map();
const language = document.documentElement.lang || "en";

const write = {
  count: new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format,
  ms: (value) => `${new Intl.NumberFormat(language, { maximumFractionDigits: 0 }).format(value)} ms`,
  percent: (value) => `${new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(value)} %`,
  usd: new Intl.NumberFormat(language, { style: "currency", currency: "USD", maximumFractionDigits: 6 }).format,
  stars: new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format,
};

function colour(name) {
  return getComputedStyle(live).getPropertyValue(`--${name}`).trim();
}

// A change of the rollout: a line across the chart, at its moment.
const marks = {
  id: "marks",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea, config } = chart;
    ctx.save();
    ctx.strokeStyle = colour("body-quiet-color");
    ctx.setLineDash([4, 3]);
    for (const { at } of config.options.marks) {
      const x = chartArea.left + (chartArea.width * at) / chart.data.labels.length;
      if (x >= chartArea.left && x <= chartArea.right) {
        ctx.beginPath();
        ctx.moveTo(x, chartArea.top);
        ctx.lineTo(x, chartArea.bottom);
        ctx.stroke();
      }
    }
    ctx.restore();
  },
};

function datasets(spec) {
  return spec.series.map((line) => ({
    type: line.kind,
    label: line.name,
    data: line.values,
    borderColor: colour(line.role),
    backgroundColor: colour(line.role),
    borderDash: line.dashed ? [5, 4] : [],
    borderWidth: line.kind === "bar" ? 0 : 2,
    // Times and prices go on between two hours with requests; rates and ratings say nothing of the time between.
    spanGaps: spec.unit === "ms" || spec.unit === "usd",
    pointRadius: line.values.map((_, i) => (line.values[i - 1] == null && line.values[i + 1] == null ? 2.5 : 0)),
    pointHitRadius: 8,
    tension: 0,
    order: line.kind === "bar" ? 1 : 0,
  }));
}

function signs(chart) {
  return Chart.defaults.plugins.legend.labels.generateLabels(chart).map((item) => ({
    ...item,
    pointStyle: chart.data.datasets[item.datasetIndex].type === "bar" ? "rect" : "line",
  }));
}

function options(spec) {
  const text = colour("body-fg");
  const grid = colour("hairline-color");
  const stacked = spec.series.filter((line) => line.kind === "bar").length > 1;
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    marks: marked,
    scales: {
      x: { offset: true, stacked, ticks: { color: text, maxRotation: 0, autoSkipPadding: 16 }, grid: { display: false } },
      y: {
        beginAtZero: spec.unit !== "stars",
        ticks: { color: text, callback: (value) => write[spec.unit](value), maxTicksLimit: 6 },
        grid: { color: grid },
        // The expected line lies over the bars, not on top of them.
        stacked: stacked && "single",
      },
    },
    plugins: {
      // A line's sign in the legend is drawn as the line is, with its dashes.
      legend: { labels: { color: text, usePointStyle: true, pointStyleWidth: 26, generateLabels: signs } },
      tooltip: {
        callbacks: {
          label: (item) => `${item.dataset.label}: ${write[spec.unit](item.parsed.y)}`,
          footer: ([item]) => marked.filter(({ at }) => Math.floor(at) === item.dataIndex).map((mark) => mark.text),
        },
      },
    },
  };
}

function read() {
  const page = JSON.parse(document.getElementById("dashboard-charts").textContent);
  labels = page.labels;
  marked = page.marks;
  specs = new Map(page.charts.map((spec) => [spec.key, spec]));
}

function draw() {
  for (const spec of specs.values()) {
    const canvas = live.querySelector(`canvas[data-chart="${spec.key}"]`);
    const data = { labels, datasets: datasets(spec) };
    const before = charts.get(spec.key);
    if (before && before.canvas === canvas) {
      before.data = data;
      before.options = options(spec);
      before.update("none");
    } else {
      before?.destroy();
      charts.set(spec.key, new Chart(canvas, { type: "line", data, options: options(spec), plugins: [marks] }));
    }
  }
  for (const [key, chart] of charts) {
    if (!specs.has(key)) {
      chart.destroy();
      charts.delete(key);
    }
  }
}

function cell(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

// A chart's figures, newest first, without the slices that have none.
function list(details) {
  const { unit, series } = specs.get(details.dataset.chart);
  const rows = labels.map((label, i) => [label, series.map((line) => line.values[i])]).reverse();
  const known = rows.filter(([, values]) => values.some((value) => value != null));
  details.querySelector("tbody").replaceChildren(
    ...known.map(([label, values]) => {
      const row = document.createElement("tr");
      const head = cell("th", label);
      head.scope = "row";
      row.append(head, ...values.map((value) => cell("td", value == null ? "–" : write[unit](value))));
      return row;
    }),
  );
}

let open = [];

// It does not bubble.
live.addEventListener("toggle", ({ target }) => target.open && target.dataset.chart && list(target), true);

live.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["If-None-Match"] = document.getElementById("dashboard-seen").dataset.etag;
});

live.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.xhr.responseURL.includes("/dashboard/live/")) {
    // Signed out meanwhile: the page itself asks to sign in.
    event.detail.shouldSwap = false;
    location.reload();
    return;
  }
  open = [...live.querySelectorAll("details[open]")].map(({ id }) => id);
});

live.addEventListener("htmx:afterSwap", () => {
  read();
  for (const id of open) {
    document.getElementById(id)?.setAttribute("open", "");
  }
  live.querySelectorAll("details[data-chart][open]").forEach(list);
  draw();
});

live.addEventListener("htmx:afterRequest", (event) => {
  stale.hidden = event.detail.xhr.status >= 200 && event.detail.xhr.status < 400;
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });

read();
draw();
