//! The two addresses at which clients ask for answers.

use std::rc::Rc;

use super::stream_out::Writer;
use super::{answer_out, error, request_in};
use crate::dialects::conversation::{Answer, Failure, Request};
use crate::dialects::front::{Asked, Encode, Front, Place, Refusal};

/// `/api/chat`.
pub static CHAT: ChatFront = ChatFront;

/// `/api/generate`.
pub static GENERATE: GenerateFront = GenerateFront;

/// A conversation.
#[derive(Clone, Copy, Debug)]
pub struct ChatFront;

/// One turn, whose answer is a bare text.
#[derive(Clone, Copy, Debug)]
pub struct GenerateFront;

/// Which of the two an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Chat,
    Generate,
}

impl Front for ChatFront {
    fn read(&self, body: &[u8], _: &Place<'_>) -> Result<Request, Refusal> {
        request_in::chat(body)
    }

    fn answer(&self, answer: &Answer, asked: &Asked) -> Vec<u8> {
        answer_out::write(Shape::Chat, answer, asked)
    }

    fn encoder(&self, asked: &Rc<Asked>) -> Box<dyn Encode> {
        Box::new(Writer::new(Shape::Chat, Rc::clone(asked)))
    }

    fn failure(&self, failure: &Failure, _: &str) -> (u16, Vec<u8>) {
        error::write(failure)
    }
}

impl Front for GenerateFront {
    fn read(&self, body: &[u8], _: &Place<'_>) -> Result<Request, Refusal> {
        request_in::generate(body)
    }

    fn answer(&self, answer: &Answer, asked: &Asked) -> Vec<u8> {
        answer_out::write(Shape::Generate, answer, asked)
    }

    fn encoder(&self, asked: &Rc<Asked>) -> Box<dyn Encode> {
        Box::new(Writer::new(Shape::Generate, Rc::clone(asked)))
    }

    fn failure(&self, failure: &Failure, _: &str) -> (u16, Vec<u8>) {
        error::write(failure)
    }
}
