"""A saved model that answers requests: images as bytes or base64, options, and a web server for them."""
