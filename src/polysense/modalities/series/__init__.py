"""Time series: one channel or several, measured at steps."""
