//! The one thread that writes the ingest's files. Posts share an fsync (group commit). A tick turns the spool into an
//! event file.

use std::io;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::journal::{Journal, Published};
use crate::pipeline::files::folder::Folder;
use crate::pipeline::task::FileName;

/// Posts that wait for the writer; their bytes are limited by the caller.
const QUEUE: usize = 1024;
/// Bytes that share one fsync, at the most.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What stands for the memory of lines; given back when they are written.
pub type Room = Option<OwnedSemaphorePermit>;

/// What the writer is told to do.
enum WriterCommand {
    Append { lines: Vec<u8>, room: Room, done: oneshot::Sender<io::Result<()>> },
    Publish { name: FileName, more: Vec<u8>, done: oneshot::Sender<io::Result<Published>> },
    PublishFlush { name: FileName, done: oneshot::Sender<io::Result<Published>> },
}

/// Gives commands to the writer; cloning shares it. The writer ends when the last of them is dropped.
#[derive(Clone)]
pub struct Writer(mpsc::Sender<WriterCommand>);

impl Writer {
    /// Starts the writer of a folder.
    ///
    /// # Errors
    /// When the spool cannot be opened.
    pub fn start(folder: Folder) -> io::Result<Self> {
        let spool = Journal::open(folder)?;
        let (commands, inbox) = mpsc::channel(QUEUE);
        // Owned by its commands: it ends when the last sender of them is gone.
        drop(tokio::task::spawn_blocking(move || run(spool, inbox)));
        Ok(Self(commands))
    }

    /// Makes complete lines durable; answers when they are. They keep their room until then, also when the caller
    /// no longer waits for the answer.
    ///
    /// # Errors
    /// When they could not be made durable; none of them counts then.
    pub async fn append(&self, lines: Vec<u8>, room: Room) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.0.send(WriterCommand::Append { lines, room, done }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Publishes what was appended together with `more`; answers the names of the new event files.
    ///
    /// # Errors
    /// When something cannot be written; what was appended is kept for the next call.
    pub async fn publish(&self, name: FileName, more: Vec<u8>) -> io::Result<Published> {
        let (done, answer) = oneshot::channel();
        self.0.send(WriterCommand::Publish { name, more, done }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Publishes a flush file; or what was posted meanwhile, which is as good.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn publish_flush(&self, name: FileName) -> io::Result<Published> {
        let (done, answer) = oneshot::channel();
        self.0.send(WriterCommand::PublishFlush { name, done }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

fn ended() -> io::Error {
    io::Error::other("the writer has ended")
}

fn run(mut spool: Journal, mut inbox: mpsc::Receiver<WriterCommand>) {
    let mut next = inbox.blocking_recv();
    while let Some(command) = next.take() {
        match command {
            WriterCommand::Append { lines, room, done } => {
                next = append_group(&mut spool, &mut inbox, lines, (done, room));
            }
            // A caller that went away does not need the answer; the effect is there.
            WriterCommand::Publish { name, more, done } => drop(done.send(spool.publish(&name, &more))),
            WriterCommand::PublishFlush { name, done } => drop(done.send(spool.publish_flush(&name))),
        }
        if next.is_none() {
            next = inbox.blocking_recv();
        }
    }
}

/// The caller that waits for an answer, and the room that its lines take in memory.
type Waiting = (oneshot::Sender<io::Result<()>>, Room);

/// Appends the lines of all posts that wait by now with one fsync; answers the command that ended the group, if any.
fn append_group(
    spool: &mut Journal,
    inbox: &mut mpsc::Receiver<WriterCommand>,
    mut lines: Vec<u8>,
    first: Waiting,
) -> Option<WriterCommand> {
    let mut waiting = vec![first];
    let mut next = None;
    while next.is_none() {
        match inbox.try_recv() {
            Ok(WriterCommand::Append { lines: more, room, done }) if lines.len() + more.len() <= GROUP_BYTES_MAX => {
                lines.extend_from_slice(&more);
                waiting.push((done, room));
            }
            Ok(other) => next = Some(other),
            Err(_) => break,
        }
    }
    let result = spool.append(&lines);
    drop(lines);
    for (done, room) in waiting {
        let answer = match &result {
            Ok(()) => Ok(()),
            Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
        };
        drop(room);
        drop(done.send(answer));
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_post_is_durable_before_its_answer_and_published_once() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let writer = Writer::start(folder.clone()).unwrap();
        let posts = (0..100).map(|number| {
            let writer = writer.clone();
            tokio::spawn(async move { writer.append(format!("{number}\n").into_bytes(), None).await })
        });
        for post in posts.collect::<Vec<_>>() {
            post.await.unwrap().unwrap();
        }
        let files = writer.publish("20250101000000".parse().unwrap(), Vec::new()).await.unwrap().files;
        let path = folder.path_of(&crate::pipeline::files::folder::Artifact::Events(files[0].clone()));
        let text = std::fs::read_to_string(path).unwrap();
        let mut numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}
