"""Three routes to the heat flux of a model, and the checks that choose between them."""
