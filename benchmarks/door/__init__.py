"""How fast the door is: ``make bench`` measures it beside what people would use instead, in one run."""
