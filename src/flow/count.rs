//! Station 8, count: facts for the statistics; never content, never an INS.
