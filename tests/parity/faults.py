"""Planted mistakes: what each is, and the smallest groups that must see it."""
