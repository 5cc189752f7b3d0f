//! The commit point, byte by byte: an answer that ends anywhere, however, in every dialect there is.

use super::act::{Ending, Habit};
use super::client::Wish;
use super::simulation::{CALM, on_stage};
use crate::telemetry::EndReason;
use crate::units::UpstreamId;

/// The second tier is asked where the first has said nothing.
const CONFIG: &str = "[[upstreams]]\nname = \"u0\"\nbase_url = \"http://u0\"\n\
    [[upstreams]]\nname = \"u1\"\nbase_url = \"http://u1\"\n\
    [[routes]]\nmodel = \"m\"\ntargets = [\"u0\", \"u1\"]\n\
    first_token_timeout = \"5s\"\nidle_timeout = \"5s\"\nearly_head_after = ";

/// Longer than any answer of `Habit::Until`.
const BYTES: usize = 750;

#[test]
fn an_answer_that_ends_anywhere_is_asked_for_again_before_its_first_token_and_never_after() {
    for early in ["\"off\"", "\"100ms\""] {
        for path in ["/v1/chat/completions", "/v1/completions", "/v1/responses"] {
            for ending in [Ending::Clean, Ending::Break, Ending::Park] {
                every_cut(&format!("{CONFIG}{early}\n"), path, ending);
            }
        }
    }
}

fn every_cut(config: &str, path: &'static str, ending: Ending) {
    on_stage(config, &[&[Habit::Good], &[Habit::Good]], async |stage| {
        let world = &stage.world;
        let mut kept = 0;
        // Each third byte, from another one on for each ending, is as good as all, and there are all about the token.
        for bytes in (ending as usize..BYTES).step_by(3) {
            // Whatever the breaker says is forgotten meanwhile.
            tokio::time::sleep(CALM).await;
            world.forget();
            world.set_habit(0, Habit::Until(bytes, ending));
            let outcome = stage.ask(Wish::plain(bytes, "m").at(path)).await;
            let asks = world.asks.borrow();
            let says = &asks[0].says;
            let token = says.token_at.filter(|at| *at < says.text.len());
            // Without its blank line it is whole to a clean end.
            let whole = token.and_then(|at| says.text[at..].find("\n\n"));
            let case = format!("{path} {ending:?} after {bytes}: {outcome:?}");
            if whole.is_some() {
                kept += 1;
                assert_eq!(asks.len(), 1, "{case}");
                assert!(outcome.text.contains("~0~"), "{case}");
            } else if ending != Ending::Clean {
                assert_eq!(asks.len(), 2, "{case}");
                assert_eq!(outcome.reason(), Some(EndReason::Completed), "{case}");
                assert!(outcome.is_early || outcome.upstream == Some(UpstreamId::new(1)), "{case}");
            }
        }
        assert!(kept > 60, "{kept}");
    });
}
