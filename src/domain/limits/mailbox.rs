//! A mailbox: folders, contents, readers, annotations, its index.
use std::time::Duration;

/// Folders of one mailbox.
pub const FOLDERS_MAX: usize = 1_000;
/// Octets of a folder name.
pub const FOLDER_NAME_OCTETS_MAX: usize = 512;
/// Keywords on one message.
pub const KEYWORDS_MAX: usize = 64;
/// Octets of one keyword.
pub const KEYWORD_OCTETS_MAX: usize = 128;
/// Octets that one COPY puts into one batch. It happens whole or not at all, so it must fit
/// below [`BATCH_OCTETS_MAX`], with some room for what is counted roughly.
pub const TRANSFER_OCTETS_MAX: usize = 12_582_912;
/// Octets of the sealed summaries of one letter for all its recipients here: they share a batch
/// with the letter and its queue rows. Over it, each mailbox gets a shorter summary.
pub const DELIVERED_SUMMARIES_OCTETS_MAX: usize = 8_388_608;
/// How long a mailbox knows a letter again that another relay sends a second time. Relays give
/// up after five days or so; what comes later was sent again on purpose.
pub const DUPLICATES_KNOWN_FOR: Duration = Duration::from_secs(864_000);
/// Letters that were known for too long and are looked for when another letter arrives.
pub const DUPLICATES_SWEPT_AT_ONCE: usize = 16;
/// Octets of a row of the search index before it is sealed; one holds some 20 to 60 letters.
pub const INDEX_ROW_OCTETS_MAX: usize = 24_576;
/// Signatures that are gathered before they are written to the search index.
pub const INDEX_LEARNT_AT_ONCE: usize = 256;
/// Entries of one list of rights. With the longest addresses they fit one row.
pub const ACL_ENTRIES_MAX: usize = 150;
/// Mailboxes of others that one login is shown. A service has a handful, a hospital's switchboard
/// some dozens.
pub const OTHERS_MAX: usize = 500;
/// Subscriptions of one login to folders of others: they are one row.
pub const SUBSCRIPTIONS_KEPT_MAX: usize = 1_500;
/// Octets of one annotation's value.
pub const ANNOTATION_OCTETS_MAX: usize = 10_240;
/// Annotations of one folder, shared or one reader's.
pub const ANNOTATIONS_MAX: usize = 100;
/// Octets of all of these: they are one row.
pub const ANNOTATIONS_OCTETS_MAX: usize = 50_000;
/// Octets of subscribed names that are remembered beyond their folders; in the same row.
pub const SUBSCRIBED_NAMES_OCTETS_MAX: usize = 25_000;
/// Steps of a mailbox's change log that are kept. Clients that were away for more are told what
/// changed from the messages themselves, which takes longer.
pub const CHANGES_KEPT: u64 = 100_000;
/// Octets of the sets of message numbers that are kept in memory for folders in use.
pub const CONTENTS_OCTETS_MAX: usize = 67_108_864;
/// Rows of expunged messages that one commit removes when their time has come.
pub const HELD_SWEPT_AT_ONCE: usize = 200;
/// Such commits in one sweep; the next sweep goes on.
pub const HELD_SWEEPS_MAX: usize = 2_000;
/// Letters that one letter answers, at most, for the mark of who answered.
pub const ANSWERS_MAX: usize = 4;
/// Places in one team mailbox that are marked as answered for one letter: copies of it lie in a few
/// folders, and whoever sends thousands under one Message-ID has a few of them marked.
pub const ANSWERED_PLACES_MAX: usize = 16;
/// Answers whose marks are set at the same time; those of later letters are left out.
pub const ANSWERED_AT_ONCE: usize = 256;
