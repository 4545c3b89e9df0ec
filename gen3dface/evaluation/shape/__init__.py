"""How far a shape is from the true one."""
