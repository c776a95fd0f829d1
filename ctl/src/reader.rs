//! The reader of standard output, who may go away.
//!
//! A write tells that it has gone, but a watch of a quiet cluster writes nothing: `interlockctl events --follow | head
//! -1` would stay behind until the next event.

use std::io;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

/// Listens for the end of whoever reads standard output.
#[derive(Debug)]
pub(crate) struct Reader(Option<oneshot::Receiver<()>>);

impl Reader {
    /// Listens from now on, in a thread of its own that ends with the program: a terminal or a file goes never.
    pub(crate) fn watch() -> Self {
        let (gone, told) = oneshot::channel();
        thread::spawn(move || {
            // Nobody listens any more when the program ends, and that is no matter.
            if wait_for_end() {
                gone.send(()).unwrap_or_default();
            }
        });
        Self(Some(told))
    }

    /// Waits until nobody reads any more; for ever if that cannot be told.
    pub(crate) async fn gone(&mut self) {
        let told = match &mut self.0 {
            Some(told) => told.await.is_ok(),
            None => false,
        };
        if !told {
            self.0 = None;
            std::future::pending::<()>().await;
        }
    }
}

/// Blocks until the other end of standard output is closed: poll(2) says so of a pipe, a socket and a terminal, asked
/// for or not. False if it cannot be told.
fn wait_for_end() -> bool {
    let stdout = io::stdout();
    loop {
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) => {
                let ended = PollFlags::ERR | PollFlags::HUP;
                return watched[0].revents().intersects(ended);
            }
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
