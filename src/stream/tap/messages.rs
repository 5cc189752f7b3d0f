//! Events of Anthropic's Messages API. Its SDKs go by the events' names.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use super::{Key, Seen, TYPE, Tap, key};
use crate::api::sse::Event;

key!(STOP_REASON, b"\"stop_reason\"");

impl Tap {
    pub(super) fn messages_event(&mut self, event: &Event<'_>, data: &[u8]) -> Seen {
        match event.name.or_else(|| TYPE.strings(data).next()) {
            Some(b"content_block_delta") => self.begun = true,
            Some(b"message_start") => {
                self.look_for_usage(data);
                return Seen::Preamble;
            }
            Some(b"ping") => return Seen::Preamble,
            Some(b"content_block_start") if !self.begun && opens_empty(data) => return Seen::Preamble,
            Some(b"content_block_stop") if !self.begun => return Seen::Preamble,
            Some(b"message_delta") => {
                self.look_for_usage(data);
                self.look_for_stop(data);
            }
            Some(b"message_stop") => self.terminal = true,
            // Without the name, SDKs skip it as if nothing was wrong: then it is none, and the client must be told.
            Some(b"error") if event.name.is_some() => self.failed = true,
            _ => {}
        }
        self.begun = true;
        Seen::Token
    }

    /// Of an answer that is no event stream, at its end.
    pub(super) fn messages_end(&mut self, bytes: &[u8]) {
        self.look_for_usage(bytes);
        self.look_for_stop(bytes);
    }

    fn look_for_stop(&mut self, bytes: &[u8]) {
        if let Some(reason) = STOP_REASON.strings(bytes).last() {
            self.finish_because(reason);
        }
    }
}

/// Whether a block begins that says nothing yet. That a tool is called, or what a server's tool has found, is said with
/// the beginning.
fn opens_empty(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Start<'a> {
        #[serde(borrow)]
        content_block: Block<'a>,
    }
    #[derive(Deserialize)]
    struct Block<'a> {
        r#type: Cow<'a, str>,
        text: Option<Cow<'a, str>>,
        thinking: Option<Cow<'a, str>>,
    }
    serde_json::from_slice(data).is_ok_and(|start: Start<'_>| {
        let block = start.content_block;
        let said = block.text.iter().chain(&block.thinking);
        matches!(&*block.r#type, "text" | "thinking") && said.into_iter().all(|text| text.is_empty())
    })
}
