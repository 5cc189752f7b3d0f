//! What the client has been told of an answer, as far as another target could continue it.

use std::fmt;

use super::chunk::{Chunk, IDENTITY, Unfit};
use super::event::{self, Said};

/// Bytes of text that are kept. Some 65,000 tokens: longer answers are rarer than upstreams that die.
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// The text of a plain chat's answer, fed with each whole event that goes to the client. Holds up to 256 KiB.
///
/// What does not fit makes it unfit for ever, and lets go of the text. It is for routes that have opted in alone:
/// each event is parsed.
#[derive(Default)]
pub struct Transcript {
    text: String,
    /// Chunks that had text in them.
    tokens: u64,
    /// The values of [`IDENTITY`] in the first chunk with a choice, as written.
    identity: Option<[Option<Box<str>>; IDENTITY.len()]>,
    unfit: Option<Unfit>,
    begun: bool,
}

impl Transcript {
    /// Nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One whole event that goes to the client. False if it says that the answer has failed: such a one is not taken
    /// down, for it need not go out.
    pub fn event(&mut self, bytes: &[u8]) -> bool {
        let bytes = if self.begun { bytes } else { event::without_mark(bytes) };
        self.begun = true;
        if self.unfit.is_some() {
            return true;
        }
        let taken = match event::read(bytes) {
            Ok(Said::Nothing) => Ok(()),
            Ok(Said::Done) => Err(Unfit::Finished),
            Ok(Said::Data(data)) => Chunk::read(&data).and_then(|chunk| {
                self.identify(&chunk);
                self.take(chunk.content(), chunk.is_finished())
            }),
            Err(unfit) => Err(unfit),
        };
        match taken {
            Ok(()) => {}
            Err(Unfit::Failed) => return false,
            Err(unfit) => self.spoil(unfit),
        }
        true
    }

    /// Something went out that could not be given to [`event`](Self::event), such as an event in pieces.
    pub fn spoil(&mut self, why: Unfit) {
        self.unfit.get_or_insert(why);
        self.text = String::new();
    }

    /// Why the answer can't be continued, if it can't.
    pub fn unfit(&self) -> Option<Unfit> {
        self.unfit
    }

    /// All that was said. Empty when nothing was, or when it is unfit.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tokens that were generated for it, as far as can be seen: chunks with text in them. Servers send a
    /// token a chunk, or a few.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Takes what a chunk of this stream, or of one that continues it, adds.
    pub(super) fn take(&mut self, content: &str, is_finished: bool) -> Result<(), Unfit> {
        if self.text.len() + content.len() > TEXT_BYTES_MAX {
            return Err(Unfit::Long);
        }
        self.text.push_str(content);
        self.tokens += u64::from(!content.is_empty());
        if is_finished { Err(Unfit::Finished) } else { Ok(()) }
    }

    /// The identity is that of the first chunk with a choice: what some servers send before (results of filters)
    /// has an empty id.
    pub(super) fn identify(&mut self, chunk: &Chunk<'_>) {
        if self.identity.is_none() && chunk.choice.is_some() {
            self.identity = Some(chunk.identity.map(|value| value.map(Box::from)));
        }
    }

    /// The values of [`IDENTITY`], as written.
    pub(super) fn identity(&self) -> Option<&[Option<Box<str>>; IDENTITY.len()]> {
        self.identity.as_ref()
    }
}

/// Without the text, which belongs in no log.
impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcript")
            .field("bytes", &self.text.len())
            .field("tokens", &self.tokens)
            .field("unfit", &self.unfit)
            .finish_non_exhaustive()
    }
}
