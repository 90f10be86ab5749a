//! How others reach a session: it hears the word at its next turn.

use std::sync::PoisonError;

use sdpp_proto::offence::Reason;

use crate::sync::{Mutex, Notify};

/// What a session is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Word {
    /// Settle and end.
    Finish,
    /// The buyer's channel is about to be closed: nothing that is sent now would be paid.
    Closing,
    /// End at once, for this reason.
    Stop(Reason),
}

/// One per connection; the pointer is its identity.
#[derive(Default, Debug)]
pub(crate) struct Reins {
    word: Mutex<Option<Word>>,
    news: Notify,
}

impl Reins {
    /// Says a word. A graver one outweighs what was said and not heard yet.
    pub(crate) fn say(&self, word: Word) {
        let mut said = self.word.lock().unwrap_or_else(PoisonError::into_inner);
        *said = (*said).max(Some(word));
        drop(said);
        self.news.notify_one();
    }

    /// Waits for a word. May be dropped at any time without losing one.
    pub(crate) async fn hear(&self) -> Word {
        loop {
            let said = self.word.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(word) = said {
                return word;
            }
            self.news.notified().await;
        }
    }
}
