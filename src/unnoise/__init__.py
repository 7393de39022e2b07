"""unnoise: turn noise into pictures, and see and measure how."""
