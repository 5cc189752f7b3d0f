//! Who we are to upstreams that want no key but credentials that change: tokens of Google and Microsoft, signatures of
//! Amazon.
//!
//! A [`Keeper`] fetches them on the control thread, well before the ones that are there expire, and never in the path of
//! a request. Workers read from the [`Store`] what is there, or that nothing is.

mod aws;
mod entra;
mod google;
mod http;
mod keeper;
mod pace;
mod sign;
mod source;
mod store;
mod token;
#[cfg(test)]
mod tests;

pub use self::keeper::Keeper;
pub use self::store::{NotReady, Signed, Store, Unsigned};
