//! Makes the events of a target that continues an answer those of the one stream which the client reads.

use std::fmt;

use bytes::Bytes;

use super::chunk::{Chunk, IDENTITY, Unfit};
use super::event::{self, Said};
use super::seam::{self, Verdict};
use super::transcript::Transcript;
use crate::api::object::{self, Edits};
use crate::api::prefill::Prefill;

/// Bytes of events that are held back until the seam is judged, at most. Some two hundred chunks, where ten are
/// enough; a server that sends more without text is judged by what there is.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Stands in the first event behind the seam.
const MARK: &str = r#""millstream":{"continued":true}"#;

/// Why what a target sends can't continue the answer. The stream ends with an error event then; or another target
/// is asked, as long as nothing [has begun](Splice::has_begun).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It began the answer again.
    #[error("the target began the answer again")]
    Restarted,
    /// It said the end of what was said once more.
    #[error("the target repeated the end of the answer")]
    Repeated,
    /// It ended without having said anything, not even why it ended.
    #[error("the target said nothing")]
    Empty,
    /// Its answer is none that can continue a plain chat, or too long.
    #[error("the target can't continue: {0}")]
    Unfit(#[from] Unfit),
}

/// The second part of a stream, and what was said in all of it. See the module's documentation.
///
/// Before anything of the new text goes out, up to 32 characters of it are held back and judged (see `seam`);
/// after that each event goes out at once. Holds at most 64 KiB of events and one more, beside the transcript.
pub struct Splice {
    said: Transcript,
    /// The tokens of the part before.
    tokens_before: u64,
    style: Prefill,
    begun: bool,
    /// Until the seam is judged.
    opening: Option<Opening>,
    /// The first event behind the seam is out.
    marked: bool,
    refused: Option<Refusal>,
}

#[derive(Default)]
struct Opening {
    held: Vec<Bytes>,
    held_bytes: usize,
    text: String,
    /// The text of the first chunk that has any.
    first: String,
}

impl Splice {
    /// Continues what `transcript` holds, which must be fit, by a target that was asked in this `style`.
    pub fn new(transcript: Transcript, style: Prefill) -> Self {
        Self {
            tokens_before: transcript.tokens(),
            refused: transcript.unfit().map(Refusal::Unfit),
            said: transcript,
            style,
            begun: false,
            opening: Some(Opening::default()),
            marked: false,
        }
    }

    /// One whole event of the continuing target; what may go out now is added to `out`. Once an error was
    /// returned, it is returned for ever, and what was held back never goes out.
    pub fn event(&mut self, event: Bytes, out: &mut Vec<Bytes>) -> Result<(), Refusal> {
        self.go_on(|this| this.take(event, out))
    }

    /// The target has ended its transfer: what is held back is all there is. To be called before whatever else
    /// goes out then.
    pub fn end(&mut self, out: &mut Vec<Bytes>) -> Result<(), Refusal> {
        self.go_on(|this| this.judge(true, out))
    }

    /// Whether the client has got anything of this part.
    pub fn has_begun(&self) -> bool {
        self.marked
    }

    /// All that was said, of this part what went out: for another continuation, if this target dies as well.
    pub fn into_transcript(self) -> Transcript {
        self.said
    }

    fn go_on(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<(), Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        step(self).inspect_err(|refusal| {
            self.refused = Some(*refusal);
            self.opening = None;
        })
    }

    fn take(&mut self, event: Bytes, out: &mut Vec<Bytes>) -> Result<(), Refusal> {
        let event = if std::mem::replace(&mut self.begun, true) {
            event
        } else {
            // It would be none in the midst of a stream.
            event.slice_ref(event::without_mark(&event))
        };
        let read = event::read(&event)?;
        let data = match &read {
            Said::Nothing => {
                out.push(event);
                return Ok(());
            }
            Said::Done => {
                self.judge(true, out)?;
                if !self.marked {
                    return Err(Refusal::Empty);
                }
                out.push(event);
                return Ok(());
            }
            Said::Data(data) => data,
        };
        let chunk = Chunk::read(data)?;
        let Some(opening) = &mut self.opening else {
            self.pass(&event, &chunk, 0, out);
            return Ok(());
        };
        let content = chunk.content();
        let is_last = chunk.is_finished() || (chunk.choice.is_none() && chunk.usage.is_some());
        if content.is_empty() && !is_last {
            // The role, once more, and what else some servers send before the text.
            return Ok(());
        }
        if opening.text.is_empty() {
            if chunk.choice.is_none() {
                return Err(Refusal::Empty);
            }
            content.clone_into(&mut opening.first);
        }
        opening.text.push_str(content);
        opening.held_bytes += event.len();
        let is_all = is_last || opening.held_bytes > HELD_BYTES_MAX;
        drop(chunk);
        drop(read);
        opening.held.push(event);
        self.judge(is_all, out)
    }

    /// Lets go of what is held back, if it is a continuation.
    fn judge(&mut self, is_all: bool, out: &mut Vec<Bytes>) -> Result<(), Refusal> {
        let Some(opening) = &self.opening else { return Ok(()) };
        let mut sent_back = match seam::judge(self.said.text(), &opening.text, &opening.first, self.style, is_all)
        {
            Verdict::Wait => return Ok(()),
            Verdict::Continues(sent_back) => sent_back,
            Verdict::Restarted => return Err(Refusal::Restarted),
            Verdict::Repeated => return Err(Refusal::Repeated),
        };
        for event in self.opening.take().map(|opening| opening.held).unwrap_or_default() {
            if let Said::Data(data) = event::read(&event)? {
                let chunk = Chunk::read(&data)?;
                let taken_off = sent_back.min(chunk.content().len());
                sent_back -= taken_off;
                self.pass(&event, &chunk, taken_off, out);
            }
        }
        Ok(())
    }

    /// Passes a chunk on as one of the stream, without the first `taken_off` bytes of its text.
    fn pass(&mut self, event: &[u8], chunk: &Chunk<'_>, taken_off: usize, out: &mut Vec<Bytes>) {
        let content = chunk.content().get(taken_off..).unwrap_or_default();
        let says = !content.is_empty() || chunk.is_finished();
        if chunk.choice.is_some() && !says && (taken_off > 0 || !self.marked) {
            return;
        }
        let mut edits = Edits::new(chunk.text);
        if says && !std::mem::replace(&mut self.marked, true) {
            edits.insert_first(MARK);
        }
        self.said.identify(chunk);
        self.rename(chunk, &mut edits);
        if let Some(choice) = &chunk.choice {
            if let (Some(value), 1..) = (choice.content_value, taken_off) {
                edits.replace(value, json_string(content));
            }
            if let Some(role) = choice.role {
                edits.remove(&choice.delta, role);
            }
        }
        if let Some(usage) = chunk.usage {
            self.add_up(usage, &mut edits);
        }
        if let Err(unfit) = self.said.take(content, chunk.is_finished()) {
            // This part goes on; another one could not follow.
            self.said.spoil(unfit);
        }
        out.push(event::with_data(event, &edits.apply()));
    }

    /// Gives the chunk the identity of the stream.
    fn rename(&self, chunk: &Chunk<'_>, edits: &mut Edits<'_>) {
        let Some(identity) = self.said.identity() else { return };
        for ((name, own), first) in IDENTITY.iter().zip(chunk.identity).zip(identity) {
            match (own, first) {
                (Some(own), Some(first)) => edits.replace(own, first.to_string()),
                (None, Some(first)) => edits.insert_first(&format!("\"{name}\":{first}")),
                // The one of them that is often null, and may be.
                (Some(own), None) if *name == "system_fingerprint" => edits.replace(own, "null".to_owned()),
                (_, None) => {}
            }
        }
    }

    /// The tokens of the part before were the prompt's for this target, and are the completion's for the client.
    fn add_up(&self, usage: &str, edits: &mut Edits<'_>) {
        let (mut prompt, mut completion, mut details) = (None, None, None);
        let is_object = object::members(usage, |member| match &*member.name() {
            "prompt_tokens" => prompt = Some(member.value),
            "completion_tokens" => completion = Some(member.value),
            "prompt_tokens_details" => details = Some(member.value),
            _ => {}
        });
        if !is_object {
            return;
        }
        let mut moved = self.tokens_before;
        if let Some((value, count)) = number(prompt) {
            // Counted in chunks, it may be more than there are; the total must stay.
            moved = moved.min(count);
            let rest = count - moved;
            edits.replace(value, rest.to_string());
            let mut cached = None;
            object::members(details.unwrap_or_default(), |member| {
                if member.name() == "cached_tokens" {
                    cached = Some(member.value);
                }
            });
            if let Some((value, _)) = number(cached).filter(|(_, cached)| *cached > rest) {
                // A cache knows the begun answer as well.
                edits.replace(value, rest.to_string());
            }
        }
        if let Some((value, count)) = number(completion) {
            edits.replace(value, count.saturating_add(moved).to_string());
        }
    }
}

/// A whole number, with the place where it stands.
fn number(value: Option<&str>) -> Option<(&str, u64)> {
    let value = value?;
    Some((value, value.parse().ok()?))
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

/// Without the text, which belongs in no log.
impl fmt::Debug for Splice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splice")
            .field("said", &self.said)
            .field("style", &self.style)
            .field("marked", &self.marked)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
