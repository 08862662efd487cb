"""CoALM behind the OpenAI API: `create_app` makes the application that `coalm serve` runs."""
