"""All users of an application, as its operator sees and changes them."""
