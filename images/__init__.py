"""Where a guest's bytes come from: catalogue, recipes, verified cache, seeds, overlays."""
