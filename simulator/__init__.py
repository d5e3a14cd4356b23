"""An upstream that stands in for the model vendors, over their own wire protocols."""
