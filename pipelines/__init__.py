"""From a portrait to views from all around."""
