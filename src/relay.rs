//! The only place that builds things and starts tasks; graceful stop.
