//! The events of a client's stream on the wire.

use serde_json::{Map, Value};

/// Numbers and frames events.
#[derive(Debug, Default)]
pub(super) struct Wire {
    sequence: u64,
    /// Nobody listens: only the whole is wanted.
    is_mute: bool,
}

impl Wire {
    /// For a whole answer.
    pub(super) fn mute() -> Self {
        Self { is_mute: true, ..Self::default() }
    }

    /// Writes one, whose `fields` are an object.
    pub(super) fn event(&mut self, kind: &str, fields: Value, out: &mut Vec<u8>) {
        let sequence = self.sequence;
        self.sequence += 1;
        if self.is_mute {
            return;
        }
        let mut event = Map::new();
        event.insert("type".into(), kind.into());
        event.insert("sequence_number".into(), sequence.into());
        if let Value::Object(fields) = fields {
            event.extend(fields);
        }
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(Value::Object(event).to_string().as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}
