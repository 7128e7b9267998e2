"""DaCapo's weights store and starts, and what a real training run needs around them."""
