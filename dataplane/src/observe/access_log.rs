//! One JSON object a request or stream, one a line.
//!
//! Each worker writes lines into a buffer of its own, which goes to one writer thread when it is full or old. The way
//! there is bounded: when the output is slower than the requests, lines are lost and counted, and no request waits.

mod line;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Record, StreamRecord, metrics::Metrics};

/// A buffer is handed over at this size.
const BUFFER_BYTES: usize = 32 << 10;
/// Room for the line that fills the buffer.
const SPARE_BYTES: usize = 2 << 10;
/// Buffers that may wait for the writer: about 8 MiB.
const QUEUE: usize = 256;

/// The way to the writer's thread, which ends with the last of them and of their buffers.
#[derive(Debug)]
pub(super) struct LogWriter {
    queue: SyncSender<Message>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Message {
    Lines(Lines),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    count: u64,
}

/// Lines of one worker that wait to be handed over.
#[derive(Debug)]
pub(super) struct LogBuffer {
    queue: SyncSender<Message>,
    metrics: Arc<Metrics>,
    lines: Lines,
    clock: line::Clock,
}

impl LogWriter {
    /// Fails if no thread can be started.
    pub(super) fn start(output: Box<dyn io::Write + Send>, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let losses = Arc::clone(&metrics);
        thread::Builder::new()
            .name("gatehouse-log".into())
            .spawn(move || write_all(&messages, output, &losses))?;
        Ok(LogWriter { queue, metrics })
    }

    pub(super) fn buffer(&self) -> LogBuffer {
        LogBuffer {
            queue: self.queue.clone(),
            metrics: Arc::clone(&self.metrics),
            lines: Lines::default(),
            clock: line::Clock::default(),
        }
    }

    /// Waits until all that was handed over is written, or the time has come. Blocks.
    pub(super) fn flush(&self, until: Instant) {
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return,
            }
            thread::sleep(Duration::from_millis(1));
        }
        // An error means that the time is over, or the writer: either way there is nothing to wait for.
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn write_all(messages: &Receiver<Message>, mut output: Box<dyn io::Write + Send>, metrics: &Metrics) {
    for message in messages {
        match message {
            // A reader that went away must not end the gateway.
            Message::Lines(lines) => {
                if output.write_all(&lines.bytes).and_then(|()| output.flush()).is_err() {
                    metrics.log_dropped.add(lines.count);
                }
            }
            // An error means that nobody waits any more.
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

impl LogBuffer {
    pub(super) fn write(&mut self, record: &Record) {
        self.add(|out, clock| line::write(out, clock, record));
    }

    pub(super) fn write_stream(&mut self, record: &StreamRecord) {
        self.add(|out, clock| line::write_stream(out, clock, record));
    }

    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>, &mut line::Clock)) {
        if self.lines.bytes.capacity() == 0 {
            self.lines.bytes.reserve(BUFFER_BYTES + SPARE_BYTES);
        }
        write(&mut self.lines.bytes, &mut self.clock);
        self.lines.count += 1;
        if self.lines.bytes.len() >= BUFFER_BYTES {
            self.hand_over();
        }
    }

    pub(super) fn hand_over(&mut self) {
        if self.lines.count == 0 {
            return;
        }
        let lines = std::mem::take(&mut self.lines);
        let count = lines.count;
        if self.queue.try_send(Message::Lines(lines)).is_err() {
            self.metrics.log_dropped.add(count);
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests;
