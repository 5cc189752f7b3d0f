//! What an upstream does with one request: drawn from its mood, written down with the id of the attempt in every part,
//! so that it can be told afterwards whose bytes a client has got.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;

use super::draw::Draw;
use crate::telemetry::FailurePhase;
use crate::upstream::{Cause, Framing, SendError};

/// What an upstream makes of its requests, by habits that it takes turns in by chance.
#[derive(Clone, Debug)]
pub(super) struct Mood(pub(super) Vec<Habit>);

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    Good,
    /// Good, with waits between its parts.
    Slow,
    /// Good, after a wait that some clock may not allow.
    Late,
    /// Good, but for the end of the transfer.
    Lingers,
    /// Good, without the dialect's last word.
    Wordless,
    /// With an event that is too long to be held back.
    Long,
    /// Much before the first token.
    Verbose,
    /// No connection.
    Refused,
    /// No place: a bound of our own.
    Capped,
    /// Broken before the head, and nothing was processed.
    Unsent,
    /// Broken before the head.
    Broken,
    /// No head.
    Silent,
    /// An error status.
    Status(u16),
    /// An error status whose body never ends.
    Hanging(u16),
    /// Broken off somewhere.
    Cut,
    /// Ends somewhere, as if that was all.
    Short,
    /// Falls silent somewhere.
    Stalls,
    /// An error in the place of some event.
    Errs,
    /// An error in the place of the first event.
    ErrsFirst,
    /// Something else than a stream.
    Stray,
    /// An error that is something else than a stream.
    StrayError,
    /// A preamble and two tokens, of which so many bytes come.
    Until(usize, Ending),
}

/// What comes behind the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Clean,
    Break,
    Park,
}

const ALL: [Habit; 29] = [
    Habit::Good,
    Habit::Slow,
    Habit::Late,
    Habit::Lingers,
    Habit::Wordless,
    Habit::Long,
    Habit::Verbose,
    Habit::Refused,
    Habit::Capped,
    Habit::Unsent,
    Habit::Broken,
    Habit::Silent,
    Habit::Status(400),
    Habit::Status(413),
    Habit::Status(401),
    Habit::Status(429),
    Habit::Status(500),
    Habit::Status(503),
    Habit::Status(529),
    Habit::Hanging(400),
    Habit::Hanging(500),
    Habit::Cut,
    Habit::Cut,
    Habit::Short,
    Habit::Stalls,
    Habit::Errs,
    Habit::ErrsFirst,
    Habit::Stray,
    Habit::StrayError,
];

impl Mood {
    pub(super) fn drawn(draw: &mut Draw) -> Self {
        let bad = draw.of(&ALL);
        Self(match draw.below(6) {
            0 | 1 => vec![Habit::Good, Habit::Good, Habit::Slow, bad],
            2 => vec![bad],
            3 => vec![Habit::Good, bad, draw.of(&ALL)],
            _ => ALL.to_vec(),
        })
    }
}

/// How a client was asked to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Chat,
    Completions,
    Responses,
    /// One JSON document.
    Json,
    /// Bytes that are passed on as they come.
    Sound,
}

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Wait(Duration),
    Piece(Bytes),
    Break,
    /// Silent for ever.
    Park,
}

/// Before anything of the answer is there.
#[derive(Clone, Debug)]
pub(super) enum Head {
    Fails(SendError),
    Never,
    Status(u16, Vec<(&'static str, String)>, Framing),
}

/// One attempt as its upstream plays it.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) habit: Habit,
    pub(super) wait: Duration,
    pub(super) head: Head,
    /// Ends cleanly behind them.
    pub(super) steps: VecDeque<Step>,
    pub(super) says: Says,
}

/// What a client may have of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Says {
    pub(super) status: u16,
    pub(super) is_stream: bool,
    /// All that is sent.
    pub(super) text: String,
    /// As much, without the chunk that carries nothing but the usage.
    pub(super) without_usage: Option<String>,
    /// An answer, and nothing of it is missing. `Some(false)`: it depends on how the end is read.
    pub(super) is_whole: Option<bool>,
    /// Where the first token begins, if there is one.
    pub(super) token_at: Option<usize>,
}

/// Parts of a stream, with what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Preamble,
    Token,
    /// Says that nothing is missing if the transfer ends as it should.
    Finish,
    Usage,
    /// Says that nothing is missing.
    Last,
}

impl Act {
    /// What an upstream in the habit of `habit` does with attempt `id`.
    pub(super) fn new(habit: Habit, form: Form, wants_usage: bool, id: usize, draw: &mut Draw) -> Self {
        let mut act = Self {
            habit,
            wait: if draw.percent(50) { Duration::ZERO } else { draw.ms(0, 120) },
            head: Head::Never,
            steps: VecDeque::new(),
            says: Says::default(),
        };
        let fails = |phase, sent, source| Head::Fails(SendError { phase, sent, source });
        match habit {
            Habit::Refused => {
                let phase = draw.of(&[FailurePhase::Dns, FailurePhase::Connect, FailurePhase::Handshake]);
                act.head = fails(phase, false, Cause::NoAddress);
            }
            Habit::Capped => act.head = fails(FailurePhase::Cap, false, Cause::Cap(1)),
            Habit::Unsent => act.head = fails(FailurePhase::Response, false, Cause::Closed),
            Habit::Broken => act.head = fails(FailurePhase::Response, true, Cause::Closed),
            Habit::Silent => {}
            Habit::Status(status) | Habit::Hanging(status) => act.refuses(habit, status, id, draw),
            Habit::Stray => act.document(form, id, Ending::Clean, draw),
            Habit::StrayError => {
                act.head =
                    Head::Status(200, vec![("content-type", "application/json".to_owned())], Framing::Chunked);
                act.says = Says { status: 200, text: error(id, draw), ..Says::default() };
                act.play(Ending::Clean, None, draw);
            }
            _ if matches!(form, Form::Json | Form::Sound) => {
                let end = match habit {
                    // What ends early by its framing is broken to the pool.
                    Habit::Cut | Habit::Short | Habit::Errs => Ending::Break,
                    Habit::Stalls => Ending::Park,
                    _ => Ending::Clean,
                };
                act.document(form, id, end, draw);
            }
            _ => act.stream(form, wants_usage, id, draw),
        }
        if habit == Habit::Late {
            let late = draw.ms(200, 6_000);
            if draw.percent(50) { act.wait = late } else { act.steps.push_front(Step::Wait(late)) }
        }
        act
    }

    fn refuses(&mut self, habit: Habit, status: u16, id: usize, draw: &mut Draw) {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if matches!(status, 429 | 503 | 529) && draw.percent(50) {
            headers.push(("retry-after", draw.between(0, 3).to_string()));
        }
        self.head = Head::Status(status, headers, Framing::Chunked);
        self.says = Says { status, text: error(id, draw), ..Says::default() };
        let cut = match habit {
            Habit::Hanging(_) => Some(draw.below(self.says.text.len())),
            _ => None,
        };
        let end = if cut.is_none() { Ending::Clean } else { draw.of(&[Ending::Park, Ending::Break]) };
        self.play(end, cut, draw);
    }

    fn document(&mut self, form: Form, id: usize, end: Ending, draw: &mut Draw) {
        let (kind, text) = if form == Form::Sound {
            ("audio/mpeg", format!("~{id}~ sound ").repeat(1 + draw.below(400)))
        } else {
            let padding = "x".repeat(draw.of(&[1, 10, 3_000]));
            ("application/json", format!("{{\"id\":\"~{id}~\",\"object\":\"list\",\"more\":\"{padding}\"}}"))
        };
        let mut headers = vec![("content-type", kind.to_owned())];
        let framing = draw.of(&[Framing::Length, Framing::Chunked]);
        if framing == Framing::Length {
            headers.push(("content-length", text.len().to_string()));
        }
        self.head = Head::Status(200, headers, framing);
        let is_whole = Some(matches!(end, Ending::Clean));
        let cut = (is_whole != Some(true)).then(|| draw.below(text.len()));
        self.says = Says { status: 200, token_at: Some(0), text, is_whole, ..Says::default() };
        self.play(end, cut, draw);
    }

    fn stream(&mut self, form: Form, wants_usage: bool, id: usize, draw: &mut Draw) {
        let framing = draw.of(&[Framing::Chunked, Framing::H2, Framing::Close]);
        self.head = Head::Status(200, vec![("content-type", "text/event-stream".to_owned())], framing);
        let parts = self.parts(form, wants_usage, id, draw);
        let end = match self.habit {
            Habit::Lingers | Habit::Stalls => Ending::Park,
            Habit::Cut => Ending::Break,
            Habit::Until(_, ending) => ending,
            _ => Ending::Clean,
        };
        let mut text = String::new();
        let (mut finish, mut last, mut token_at) = (None, None, None);
        for (part, event) in &parts {
            if *part != Part::Preamble {
                token_at = token_at.or(Some(text.len()));
            }
            text.push_str(event);
            match part {
                Part::Finish => finish = Some(text.len()),
                Part::Last => last = Some(text.len()),
                _ => {}
            }
        }
        let cut = match self.habit {
            Habit::Cut | Habit::Short | Habit::Stalls => draw.below(text.len() + 1),
            Habit::Until(bytes, _) => bytes.min(text.len()),
            _ => text.len(),
        };
        text.truncate(cut);
        let said = |at: Option<usize>, slack: usize| at.is_some_and(|at| cut + slack >= at);
        let is_clean = matches!(end, Ending::Clean);
        let surely = said(last, 0) || (is_clean && framing != Framing::Close && said(finish, 0));
        let perhaps = said(last, 2) || said(finish, 2);
        let failed = matches!(self.habit, Habit::Errs | Habit::ErrsFirst);
        let usage = parts.iter().find(|(part, _)| *part == Part::Usage);
        self.says = Says {
            status: 200,
            is_stream: true,
            without_usage: usage.map(|(_, event)| text.replace(event.as_str(), "")),
            text,
            is_whole: (!failed && (surely || perhaps)).then_some(surely),
            token_at,
        };
        self.play(end, None, draw);
    }

    fn parts(&self, form: Form, wants_usage: bool, id: usize, draw: &mut Draw) -> Vec<(Part, String)> {
        let mut parts = Vec::new();
        let padding = if self.habit == Habit::Verbose { "p".repeat(3_000) } else { String::new() };
        let (preambles, tokens) = match self.habit {
            Habit::Until(..) => (1, 2),
            _ => (draw.below(3), 1 + draw.below(8)),
        };
        for _ in 0..preambles {
            parts.push((Part::Preamble, preamble(form, id, &padding)));
        }
        if self.habit == Habit::Verbose {
            parts.push((Part::Preamble, preamble(form, id, &padding)));
        }
        for token in 0..tokens {
            let long =
                if self.habit == Habit::Long && token == tokens / 2 { "y".repeat(2_500) } else { String::new() };
            parts.push((Part::Token, delta(form, id, token, &long)));
        }
        if form == Form::Responses {
            parts.push((Part::Last, completed(id)));
        } else {
            parts.push((Part::Finish, finish(form, id)));
            if wants_usage {
                let usage = "\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}";
                parts.push((Part::Usage, format!("data: {{\"id\":\"~{id}~\",{usage}}}\n\n")));
            }
            if self.habit != Habit::Wordless {
                parts.push((Part::Last, "data: [DONE]\n\n".to_owned()));
            }
        }
        let at = match self.habit {
            Habit::ErrsFirst => {
                draw.of(&[0, parts.iter().take_while(|(part, _)| *part == Part::Preamble).count()])
            }
            Habit::Errs => draw.below(parts.len()),
            _ => return parts,
        };
        parts.truncate(at);
        let name = if form == Form::Responses { "event: error\n" } else { "" };
        parts.push((Part::Token, format!("{name}data: {}\n\n", error(id, draw))));
        parts
    }

    /// The text in pieces, up to `cut`, and then the end.
    fn play(&mut self, end: Ending, cut: Option<usize>, draw: &mut Draw) {
        if let Some(cut) = cut {
            self.says.text.truncate(cut);
        }
        let mut rest = self.says.text.as_bytes();
        let longest = draw.of(&[40, 200, 5_000]);
        while !rest.is_empty() {
            let wait = match self.habit {
                Habit::Slow => draw.ms(0, 150),
                _ if draw.percent(20) => draw.ms(1, 30),
                _ => Duration::ZERO,
            };
            if !wait.is_zero() {
                self.steps.push_back(Step::Wait(wait));
            }
            let (piece, left) = rest.split_at((1 + draw.below(longest)).min(rest.len()));
            self.steps.push_back(Step::Piece(Bytes::copy_from_slice(piece)));
            rest = left;
        }
        match end {
            Ending::Clean => {}
            Ending::Break => self.steps.push_back(Step::Break),
            Ending::Park => self.steps.push_back(Step::Park),
        }
    }
}

fn error(id: usize, draw: &mut Draw) -> String {
    let words = draw.of(&[
        "\"type\":\"server_error\"",
        "\"type\":\"server_error\",\"code\":500",
        "\"code\":\"rate_limit_exceeded\"",
        "\"code\":\"insufficient_quota\"",
        "\"code\":\"context_length_exceeded\"",
        "\"code\":\"content_filter\"",
        "\"type\":\"invalid_request_error\"",
    ]);
    format!("{{\"error\":{{\"message\":\"~{id}~ no\",{words}}}}}")
}

fn preamble(form: Form, id: usize, padding: &str) -> String {
    match form {
        Form::Responses => format!(
            "event: response.created\ndata: {{\"type\":\"response.created\",\"sequence_number\":0,\"response\":\
             {{\"id\":\"~{id}~\",\"p\":\"{padding}\"}}}}\n\n"
        ),
        Form::Completions => {
            format!(
                "data: {{\"id\":\"~{id}~\",\"p\":\"{padding}\",\"choices\":[{{\"index\":0,\"text\":\"\"}}]}}\n\n"
            )
        }
        _ => format!(
            "data: {{\"id\":\"~{id}~\",\"p\":\"{padding}\",\"choices\":[{{\"index\":0,\"delta\":\
             {{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":null}}]}}\n\n"
        ),
    }
}

fn delta(form: Form, id: usize, token: usize, long: &str) -> String {
    let mut event = String::new();
    let written = match form {
        Form::Responses => write!(
            event,
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\
             \"sequence_number\":{},\"delta\":\"~{id}~ {token}{long}\"}}\n\n",
            token + 1
        ),
        Form::Completions => write!(
            event,
            "data: {{\"id\":\"~{id}~\",\"choices\":[{{\"index\":0,\"text\":\"~{id}~ {token}{long}\",\
             \"finish_reason\":null}}]}}\n\n"
        ),
        _ => write!(
            event,
            "data: {{\"id\":\"~{id}~\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\
             \"~{id}~ {token}{long}\"}},\"finish_reason\":null}}]}}\n\n"
        ),
    };
    written.expect("a String takes everything");
    event
}

fn finish(form: Form, id: usize) -> String {
    let inner = if form == Form::Completions { "\"text\":\"\"" } else { "\"delta\":{}" };
    format!("data: {{\"id\":\"~{id}~\",\"choices\":[{{\"index\":0,{inner},\"finish_reason\":\"stop\"}}]}}\n\n")
}

fn completed(id: usize) -> String {
    format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"sequence_number\":99,\"response\":\
         {{\"id\":\"~{id}~\",\"usage\":{{\"input_tokens\":2,\"output_tokens\":3}}}}}}\n\n"
    )
}
