"""Plots, pictures and the report: what people look at; nothing below imports this."""
