//! Which user of the system asks: the kernel says it, and the list of users gives the name.
use std::fs;

use crate::flow::approval::Person;
use crate::server::control::Caller;

/// Where the system lists its users.
const USERS: &str = "/etc/passwd";

impl Caller {
    /// The user with this number.
    pub fn of(uid: u32) -> Self {
        Self::logged_in_as(uid, None)
    }

    /// The user with this number, in a process with this one. Administrators share an account,
    /// the relay's or root, and come to it by `sudo`; but the kernel remembers who logged in.
    pub fn of_process(uid: u32, pid: Option<i32>) -> Self {
        let login = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/loginuid")).ok());
        Self::logged_in_as(uid, login.and_then(|text| login_in(&text)))
    }

    fn logged_in_as(uid: u32, login: Option<u32>) -> Self {
        let users = fs::read_to_string(USERS).unwrap_or_default();
        let name = |uid| name_in(&users, uid).unwrap_or_else(|| format!("uid {uid}"));
        let (user, login) = (name(uid), login.map(name));
        match login.filter(|login| *login != user) {
            Some(person) => Self { author: format!("{person} (as {user})"), person },
            None => Self { author: user.clone(), person: user },
        }
    }

    /// As the flow knows them.
    pub fn person(&self) -> Person<'_> {
        Person { name: &self.person, author: &self.author }
    }

    /// The user of this process.
    pub fn own() -> Self {
        use std::os::unix::fs::MetadataExt;
        fs::metadata("/proc/self").map_or_else(
            |_| Self { author: "unknown".to_owned(), person: "unknown".to_owned() },
            |process| {
                let pid = i32::try_from(std::process::id()).ok();
                Self::of_process(process.uid(), pid)
            },
        )
    }
}

/// What `/proc/<pid>/loginuid` says; the largest number stands for nobody.
fn login_in(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
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
        assert_eq!(login_in("1000\n"), Some(1_000));
        assert_eq!(login_in("4294967295"), None, "a service was not logged in by anybody");
    }
}
