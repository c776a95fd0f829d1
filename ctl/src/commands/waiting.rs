//! Answers that take their time: that they are waited for is said every few seconds.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::RpcFailure;
use crate::failure::Failure;
use crate::render::Out;

/// How often.
const TELL: Duration = Duration::from_secs(5);

/// Waits for an answer, and every few seconds says on standard error what `words` finds of it, for as long as it has been waited
/// for by then.
pub(super) async fn answer<T>(
    answer: impl Future<Output = Result<T, RpcFailure>>,
    words: impl AsyncFn(Duration) -> String,
    out: Out,
) -> Result<T, Failure> {
    let begun = Instant::now();
    let next = async || {
        tokio::time::sleep(TELL).await;
        words(begun.elapsed()).await
    };
    telling(answer, next, |text| out.say(text)).await
}

/// Says whatever comes next until the answer is there.
async fn telling<T>(
    answer: impl Future<Output = Result<T, RpcFailure>>,
    next: impl AsyncFn() -> String,
    mut say: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<T, Failure> {
    let mut answer = pin!(answer);
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer?),
            text = next() => say(&text)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_said_again_and_again_until_the_answer_is_there() {
        let (answer, answered) = oneshot::channel();
        let (mut said, mut answer) = (Vec::new(), Some(answer));
        let counted = Cell::new(0);
        let next = async || {
            counted.set(counted.get() + 5);
            format!("after {} s", counted.get())
        };
        let say = |text: &str| {
            said.push(text.to_owned());
            if said.len() == 2 {
                let _ = answer.take().unwrap().send(7);
            }
            Ok(())
        };
        let slow = async { Ok(answered.await.unwrap()) };
        assert_eq!(telling(slow, next, say).await.ok(), Some(7));
        assert_eq!(said, ["after 5 s", "after 10 s"]);
    }

    #[tokio::test]
    async fn nobody_waits_for_words_about_an_answer_that_is_there() {
        let never = |_: &str| panic!("there is nothing to say");
        let there = telling(ready(Ok(7)), async || pending().await, never);
        assert_eq!(there.await.ok(), Some(7));
        let (answer, answered) = oneshot::channel();
        let meanwhile = Cell::new(Some(answer));
        let next = async || {
            let _ = meanwhile.take().unwrap().send(7);
            pending().await
        };
        let slow = async { Ok(answered.await.unwrap()) };
        assert_eq!(telling(slow, next, never).await.ok(), Some(7));
    }
}
