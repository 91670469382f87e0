"""What blocks cost: in closed form, and measured on a machine."""
