//! A store whose disk a test can break: crashes, torn writes, full disk, failing fsync; seeded.
