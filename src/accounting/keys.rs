//! Virtual keys: who presents one, and which models it may use.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::Key;
use crate::config::pattern::Pattern;
use crate::units::KeyId;

/// All virtual keys. Immutable; built once and shared.
#[derive(Debug)]
pub struct KeyRing {
    by_digest: HashMap<[u8; 32], KeyId>,
    keys: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    sha256: [u8; 32],
    /// Empty allows every model.
    models: Vec<Pattern>,
}

impl KeyRing {
    /// The keys of `[[keys]]`.
    pub fn new(keys: &[Key]) -> Self {
        let mut by_digest = HashMap::with_capacity(keys.len());
        for (position, key) in keys.iter().enumerate() {
            by_digest.entry(key.sha256).or_insert_with(|| KeyId::new(position));
        }
        let keys = keys.iter().map(|key| Entry {
            sha256: key.sha256,
            models: key.models.iter().map(|model| Pattern::new(model)).collect(),
        });
        Self { by_digest, keys: keys.collect() }
    }

    /// Whether there are no keys, so that anybody may use the gateway.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key whose text was `presented`, if there is one.
    ///
    /// Time leaks nothing that helps to guess: it depends on the digest of what was presented, whose bits a
    /// guesser cannot choose, and a digest that is known in part says nothing of the key. The map stays fast
    /// with any number of keys; its answer is confirmed in constant time all the same.
    pub fn authenticate(&self, presented: &[u8]) -> Option<KeyId> {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let key = *self.by_digest.get(&digest)?;
        let entry = self.keys.get(key.index())?;
        bool::from(entry.sha256.ct_eq(&digest)).then_some(key)
    }

    /// Whether `key` may use `model`. A key that is not in the ring may use nothing.
    pub fn allows(&self, key: KeyId, model: &str) -> bool {
        self.keys.get(key.index()).is_some_and(|entry| {
            entry.models.is_empty() || entry.models.iter().any(|allowed| allowed.matches(model))
        })
    }

    /// Whether `key` may use some models only, so that a request which names no model needs a decision.
    pub fn restricted(&self, key: KeyId) -> bool {
        self.keys.get(key.index()).is_none_or(|entry| !entry.models.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, Priority};

    fn key(text: &str, models: &[&str]) -> Key {
        Key {
            name: text.to_owned(),
            sha256: Sha256::digest(text).into(),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            limits: Limits::default(),
            priority: Priority::Interactive,
            upstreams: vec![],
        }
    }

    #[test]
    fn only_the_whole_key_authenticates() {
        let ring = KeyRing::new(&[key("sk-a", &[]), key("sk-b", &[]), key("sk-a", &[])]);
        for (presented, expected) in
            [("sk-a", Some(0)), ("sk-b", Some(1)), ("sk-", None), ("sk-ab", None), ("", None), ("SK-A", None)]
        {
            assert_eq!(ring.authenticate(presented.as_bytes()), expected.map(KeyId::new), "{presented}");
        }
        // The digest itself is no key.
        assert_eq!(ring.authenticate(&Sha256::digest("sk-a")), None);
        assert!(KeyRing::new(&[]).is_empty() && !ring.is_empty());
    }

    #[test]
    fn models_are_allowed_by_pattern() {
        let ring = KeyRing::new(&[key("all", &[]), key("some", &["gpt-5", "openai/*"])]);
        for (position, model, expected) in [
            (0, "anything", true),
            (1, "gpt-5", true),
            (1, "gpt-5-mini", false),
            (1, "openai/a/b", true),
            (1, "", false),
            (2, "gpt-5", false),
        ] {
            assert_eq!(ring.allows(KeyId::new(position), model), expected, "{position} {model}");
        }
        assert!(!ring.restricted(KeyId::new(0)));
        assert!(ring.restricted(KeyId::new(1)));
        assert!(ring.restricted(KeyId::new(2)));
    }
}
