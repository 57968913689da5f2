//! Which user of the system asks: the kernel says it, and the list of users gives the name.
use std::fs;

use crate::server::control::Caller;

/// Where the system lists its users.
const USERS: &str = "/etc/passwd";

impl Caller {
    /// The user with this number.
    pub fn of(uid: u32) -> Self {
        let users = fs::read_to_string(USERS).unwrap_or_default();
        let author = name_in(&users, uid).unwrap_or_else(|| format!("uid {uid}"));
        Self { author }
    }

    /// The user of this process.
    pub fn own() -> Self {
        use std::os::unix::fs::MetadataExt;
        fs::metadata("/proc/self").map_or_else(
            |_| Self { author: "unknown".to_owned() },
            |process| Self::of(process.uid()),
        )
    }
}

/// `name:password:uid:…`
fn name_in(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_or_at_least_a_number() {
        let users = "root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:/bin/false\n";
        assert_eq!(name_in(users, 8), Some("mail".to_owned()));
        assert_eq!(name_in(users, 9), None);
    }
}
