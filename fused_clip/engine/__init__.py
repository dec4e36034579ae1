"""Engines that run numbered calls on many machines; each is imported where a user asked for it."""
