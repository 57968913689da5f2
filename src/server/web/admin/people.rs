//! The file of administrators, and the one of their one-time secrets: a line for each.
//!
//! `name:value`, where a value has no colon. A value alone is that of `admin.user`, as files were
//! written when there was one administrator.

/// True for a name that a line may begin with; what `admin.user` may be.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic() && c != ':')
}

/// What the file holds for this name.
pub fn find<'a>(text: &'a str, name: &str, first: &str) -> Option<&'a str> {
    let mut alone = None;
    for line in lines(text) {
        match line.split_once(':') {
            Some((its, value)) if its == name => return Some(value),
            Some(_) => {}
            None => alone = alone.or(Some(line)),
        }
    }
    alone.filter(|_| name == first)
}

/// What it holds for anybody.
pub fn any(text: &str) -> Option<&str> {
    let line = lines(text).next()?;
    Some(line.split_once(':').map_or(line, |(_, value)| value))
}

/// The file with this value for this name, or without the name; other lines stay as they are.
/// The first administrator stands there without a name as long as they are alone.
pub fn with(text: &str, name: &str, first: &str, value: Option<&str>) -> String {
    let is_other = |line: &&str| match line.split_once(':') {
        Some((its, _)) => its != name,
        None => name != first,
    };
    let mut kept: Vec<String> = lines(text).filter(is_other).map(str::to_owned).collect();
    match value {
        Some(value) if kept.is_empty() && name == first => kept.push(value.to_owned()),
        Some(value) => kept.push(format!("{name}:{value}")),
        None => {}
    }
    kept.join("\n")
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_one_hash_is_that_of_the_first_administrator() {
        let old = "$argon2id$old\n";
        assert_eq!(find(old, "admin", "admin"), Some("$argon2id$old"));
        assert_eq!(find(old, "marie", "admin"), None);
        let two = with(old, "marie", "admin", Some("$argon2id$m"));
        assert_eq!(two, "$argon2id$old\nmarie:$argon2id$m");
        assert_eq!(find(&two, "admin", "admin"), Some("$argon2id$old"));
        assert_eq!(find(&two, "marie", "admin"), Some("$argon2id$m"));
        assert_eq!(find(&two, "Marie", "admin"), None);
        assert_eq!(find(&two, "", "admin"), None);
        let changed = with(&two, "marie", "admin", Some("$argon2id$n"));
        assert_eq!(find(&changed, "marie", "admin"), Some("$argon2id$n"));
        assert_eq!(changed.lines().count(), 2);
        let changed = with(&changed, "admin", "admin", Some("$argon2id$a"));
        assert_eq!(find(&changed, "admin", "admin"), Some("$argon2id$a"));
        assert_eq!(with(&changed, "admin", "admin", None), "marie:$argon2id$n");
        assert_eq!(with("", "admin", "admin", Some("x")), "x");
        assert_eq!(any(""), None);
        assert_eq!(any("\nmarie:x"), Some("x"));
    }

    #[test]
    fn names_are_plain() {
        assert!(is_name("marie.martin@hopital") && !is_name("") && !is_name("a b"));
        assert!(!is_name("a:b") && !is_name("é") && !is_name(&"a".repeat(65)));
    }
}
