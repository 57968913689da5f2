//! The store: batches, groups, blobs, memory for clear text.
use std::time::Duration;

/// Octets of letters in memory in the whole process by default: clear text, and ciphertext that
/// is not durable yet. About ten letters of the largest size at a time, thousands of usual ones;
/// and as many again for letters that are read.
pub const CLEAR_OCTETS_MAX_DEFAULT: u64 = 536_870_912;
/// How long a letter waits for that memory before it is put off with 4xx.
pub const CLEAR_WAIT: Duration = Duration::from_secs(30);
/// Octets of one stored value (one row).
pub const VALUE_OCTETS_MAX: usize = 65_536;
/// Rows of one page of a scan.
pub const SCAN_ROWS_MAX: usize = 1_000;
/// Octets of all keys and values of one batch: a letter's rows and its small content fit many
/// times; more would make everybody else wait for one commit.
pub const BATCH_OCTETS_MAX: usize = 16_777_216;
/// Batches that share one commit.
pub const GROUP_BATCHES_MAX: usize = 1_024;
/// Octets that share one commit: what a slow disk syncs in about a tenth of a second.
pub const GROUP_OCTETS_MAX: usize = 8_388_608;
/// Octets of batches that wait for a commit; over it, new ones are refused for now, because a
/// disk that hangs must not fill the memory.
pub const WAITING_OCTETS_MAX: usize = 268_435_456;
/// Octets of the values of one page of a scan, whatever number of rows was asked for.
pub const SCAN_OCTETS_MAX: usize = 67_108_864;
/// Octets of a sealed content that rides in the batch of its first owner; larger ones are files.
/// Such a letter costs one sync in all, and few are larger.
pub const BLOB_INLINE_OCTETS_MAX: usize = 131_072;
/// Octets of one row of such a content, below the limit of a value.
pub const BLOB_CHUNK_OCTETS: usize = 61_440;
/// Threads that write or read the files of large contents at the same time.
pub const BLOB_THREADS: usize = 16;
/// Damaged places of contents that are remembered. A disk with more has to be replaced.
pub const DAMAGED_PLACES_MAX: usize = 4_096;
