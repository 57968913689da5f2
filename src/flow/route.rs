//! Station 6, route: where does each recipient live?
