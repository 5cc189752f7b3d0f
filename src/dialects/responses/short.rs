//! Names that are longer than the provider takes.

use sha2::{Digest as _, Sha256};

/// Letters of a call's id, of a user's name and of a cache's key: more are refused with `string_above_max_length`.
const LETTERS_MAX: usize = 64;

/// The name, or one made of its digest behind `prefix`, which is the same whenever the name is.
pub(super) fn short(name: &str, prefix: &str) -> String {
    if name.chars().count() <= LETTERS_MAX {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(16).fold(prefix.to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_become_short_ones_alike() {
        assert_eq!(short(&"ä".repeat(64), "call_"), "ä".repeat(64));
        let (one, two) = (short(&"x".repeat(65), "call_"), short(&"x".repeat(66), "call_"));
        assert_eq!((one.len(), one.starts_with("call_"), one == two), (37, true, false));
        assert_eq!(one, short(&"x".repeat(65), "call_"));
    }
}
