//! What a broker may send: checked frame by frame before lapin parses it.
//!
//! lapin trusts the broker: it parses nested tables by recursion (2,000 levels overflow its stack), and collects
//! returned messages of any claimed length and number. This file lets only those frames pass that a broker can send to
//! a client that only publishes. It drops the bodies of returned messages: the header already identifies the message.

use std::collections::BTreeMap;

use crate::limits::{BROKER_CHANNELS, BROKER_FRAME, BROKER_HEADER, BROKER_NESTING};

/// Octets around the payload of a frame: type, channel and size before it, one octet after it.
const HEAD: usize = 7;
const END: usize = 1;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

const START: (u16, u16) = (10, 10);
const RETURN: (u16, u16) = (60, 50);
const PUBLISH: (u16, u16) = (60, 40);

/// Methods that a broker sends to a client that publishes. None but `connection.start` carries a table.
const METHODS: [(u16, u16); 21] = [
    START,     // connection.start
    (10, 20),  // connection.secure
    (10, 30),  // connection.tune
    (10, 41),  // connection.open-ok
    (10, 50),  // connection.close
    (10, 51),  // connection.close-ok
    (10, 60),  // connection.blocked
    (10, 61),  // connection.unblocked
    (20, 11),  // channel.open-ok
    (20, 20),  // channel.flow
    (20, 40),  // channel.close
    (20, 41),  // channel.close-ok
    (40, 11),  // exchange.declare-ok
    (50, 11),  // queue.declare-ok
    (50, 21),  // queue.bind-ok
    (50, 31),  // queue.purge-ok
    (50, 41),  // queue.delete-ok
    RETURN,    // basic.return
    (60, 80),  // basic.ack
    (60, 120), // basic.nack
    (85, 11),  // confirm.select-ok
];

/// Why a frame is not passed on.
pub type Fault = String;

/// What one connection has sent and received so far.
#[derive(Debug, Default)]
pub struct Inspector {
    /// The frame that is being received.
    partial: Vec<u8>,
    /// Channels on which a message is being returned, with what is still missing of it: its header, or this many bytes.
    returning: BTreeMap<u16, Coming>,
    /// How many messages were returned.
    returned: u64,
    outgoing: Outgoing,
}

#[derive(Debug)]
enum Coming {
    Header,
    Body(u64),
}

impl Inspector {
    /// Checks what the broker sent, and appends to `checked` what may be passed on.
    ///
    /// # Errors
    /// No broker sends this.
    pub fn receive(&mut self, mut bytes: &[u8], checked: &mut Vec<u8>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let missing = self.missing()?;
            let taken = missing.min(bytes.len());
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            // A frame without payload is complete only when its last octet has arrived.
            if self.missing()? == 0 {
                let frame = std::mem::take(&mut self.partial);
                self.frame(frame, checked)?;
            }
        }
        Ok(())
    }

    /// Notes what was sent.
    pub fn sent(&mut self, bytes: &[u8]) {
        self.outgoing.sent(bytes);
    }

    /// How many bytes of the current frame are missing, as far as that is known.
    fn missing(&self) -> Result<usize, Fault> {
        if self.partial.first().is_some_and(|kind| ![METHOD, HEADER, BODY, HEARTBEAT].contains(kind)) {
            return Err("the server does not speak AMQP on this port; is it TLS (amqps://)?".into());
        }
        if self.partial.len() < HEAD {
            return Ok(HEAD - self.partial.len());
        }
        let size = be_u32(&self.partial[3..HEAD]) as usize;
        let whole = size.saturating_add(HEAD + END);
        if whole > BROKER_FRAME as usize {
            return Err(format!("the broker sends a frame of {whole} bytes; {BROKER_FRAME} at most were agreed on"));
        }
        Ok(whole - self.partial.len())
    }

    fn frame(&mut self, mut frame: Vec<u8>, checked: &mut Vec<u8>) -> Result<(), Fault> {
        let channel = be_u16(&frame[1..3]);
        if channel > BROKER_CHANNELS {
            return Err(format!("the broker sends something for channel {channel}, which was never opened"));
        }
        let payload = HEAD..frame.len() - END;
        match frame[0] {
            METHOD => self.method(channel, &frame[payload])?,
            HEADER => self.header(channel, &mut frame[payload])?,
            BODY => return self.body(channel, payload.len() as u64),
            _ => {}
        }
        checked.extend_from_slice(&frame);
        Ok(())
    }

    fn method(&mut self, channel: u16, payload: &[u8]) -> Result<(), Fault> {
        let (class, of_class) = class_and_method(payload).ok_or_else(cut)?;
        if !METHODS.contains(&(class, of_class)) {
            return Err(format!("the broker sends what only a client sends (class {class}, method {of_class})"));
        }
        if (class, of_class) == START {
            // After class, method and the version's two octets.
            table(payload.get(6..).ok_or_else(cut)?, 0)?;
        }
        if (class, of_class) == RETURN {
            self.returned += 1;
            if self.returned > self.outgoing.messages {
                return Err("the broker returns more messages than were sent".into());
            }
            self.returning.insert(channel, Coming::Header);
        }
        Ok(())
    }

    /// The header of a returned message: its size is set to zero, since its body is not passed on.
    fn header(&mut self, channel: u16, payload: &mut [u8]) -> Result<(), Fault> {
        if !matches!(self.returning.remove(&channel), Some(Coming::Header)) {
            return Err("the broker sends a message that nobody asked for".into());
        }
        if payload.len() > BROKER_HEADER {
            let bytes = payload.len();
            return Err(format!(
                "the broker returns a message with a header of {bytes} bytes; {BROKER_HEADER} at most are read"
            ));
        }
        let size = payload.get(4..12).map(be_u64).ok_or_else(cut)?;
        if size > self.outgoing.largest {
            let largest = self.outgoing.largest;
            return Err(format!(
                "the broker returns a message of {size} bytes; the largest that was sent has {largest}"
            ));
        }
        properties(payload.get(12..).ok_or_else(cut)?)?;
        payload[4..12].fill(0);
        if size > 0 {
            self.returning.insert(channel, Coming::Body(size));
        }
        Ok(())
    }

    fn body(&mut self, channel: u16, bytes: u64) -> Result<(), Fault> {
        let left = match self.returning.remove(&channel) {
            Some(Coming::Body(left)) => left.checked_sub(bytes),
            _ => None,
        };
        match left {
            Some(0) => {}
            Some(left) => drop(self.returning.insert(channel, Coming::Body(left))),
            None => return Err("the broker sends a message that nobody asked for".into()),
        }
        Ok(())
    }
}

/// What was sent, as far as it limits what the broker can return.
#[derive(Debug, Default)]
struct Outgoing {
    messages: u64,
    /// The size of the largest body.
    largest: u64,
    /// Whether the protocol header was sent, which is no frame.
    has_begun: bool,
    /// The beginning of the frame that is being sent, as far as it is needed.
    begin: Vec<u8>,
    /// Bytes of it that are not needed.
    skip: usize,
}

/// `AMQP`, 0, 0, 9, 1
const PROTOCOL_HEADER: usize = 8;
/// Class and method, or class, weight and size.
const LOOKED_AT: usize = 12;

impl Outgoing {
    fn sent(&mut self, mut bytes: &[u8]) {
        if !self.has_begun && !bytes.is_empty() {
            (self.has_begun, self.skip) = (true, PROTOCOL_HEADER);
        }
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
            let size = self.begin.get(3..HEAD).map(|size| be_u32(size) as usize);
            let wanted = HEAD + size.map_or(0, |size| size.min(LOOKED_AT));
            let taken = (wanted - self.begin.len()).min(bytes.len());
            self.begin.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let Some(size) = size
                && self.begin.len() == wanted
            {
                self.note();
                self.skip = size + END - (wanted - HEAD);
                self.begin.clear();
            }
        }
    }

    fn note(&mut self) {
        let payload = &self.begin[HEAD..];
        match self.begin[0] {
            METHOD if class_and_method(payload) == Some(PUBLISH) => self.messages += 1,
            HEADER => self.largest = self.largest.max(payload.get(4..12).map_or(0, be_u64)),
            _ => {}
        }
    }
}

fn be_u16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u16::from(*byte))
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// Class and method of a method's payload.
fn class_and_method(payload: &[u8]) -> Option<(u16, u16)> {
    Some((be_u16(payload.get(..2)?), be_u16(payload.get(2..4)?)))
}

fn cut() -> Fault {
    "the broker sends a frame that ends too early".into()
}

/// The properties of a content header, after its size: content type and encoding may precede the headers' table.
fn properties(bytes: &[u8]) -> Result<(), Fault> {
    let flags = be_u16(bytes.get(..2).ok_or_else(cut)?);
    let mut rest = &bytes[2..];
    for bit in [15, 14] {
        if flags & (1 << bit) != 0 {
            let length = usize::from(*rest.first().ok_or_else(cut)?);
            rest = rest.get(1 + length..).ok_or_else(cut)?;
        }
    }
    if flags & (1 << 13) != 0 {
        table(rest, 0)?;
    }
    Ok(())
}

/// A table with its length before it, nested this deep.
fn table(bytes: &[u8], depth: usize) -> Result<(), Fault> {
    if depth > BROKER_NESTING {
        return Err(format!("the broker sends more than {BROKER_NESTING} tables, each within the next"));
    }
    let mut rest = within(bytes)?;
    while let Some(length) = rest.first() {
        let value = rest.get(1 + usize::from(*length)..).ok_or_else(cut)?;
        rest = value_of(value, depth)?;
    }
    Ok(())
}

/// A list of values with its length before it, nested this deep.
fn array(bytes: &[u8], depth: usize) -> Result<(), Fault> {
    if depth > BROKER_NESTING {
        return Err(format!("the broker sends more than {BROKER_NESTING} tables, each within the next"));
    }
    let mut rest = within(bytes)?;
    while !rest.is_empty() {
        rest = value_of(rest, depth)?;
    }
    Ok(())
}

/// Splits off as many bytes as the length before them says.
fn within(bytes: &[u8]) -> Result<&[u8], Fault> {
    let length = be_u32(bytes.get(..4).ok_or_else(cut)?) as usize;
    bytes[4..].get(..length).ok_or_else(cut)
}

/// Checks a value, and returns the bytes after it. The types are RabbitMQ's (its "AMQP 0-9-1 Errata").
fn value_of(bytes: &[u8], depth: usize) -> Result<&[u8], Fault> {
    let (kind, value) = bytes.split_first().ok_or_else(cut)?;
    let length = match kind {
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'V' => 0,
        b'S' | b'x' | b'A' | b'F' => 4 + within(value)?.len(),
        _ => return Err("the broker sends a value of a type that there is not".into()),
    };
    match kind {
        b'F' => table(value, depth + 1)?,
        b'A' => array(value, depth + 1)?,
        _ => {}
    }
    value.get(length..).ok_or_else(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap();
        [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[0xce]].concat()
    }

    fn method(channel: u16, class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
        frame(METHOD, channel, &[&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat())
    }

    fn long(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn header(channel: u16, size: u64, properties: &[u8]) -> Vec<u8> {
        frame(HEADER, channel, &[&60_u16.to_be_bytes()[..], &[0, 0], &size.to_be_bytes(), properties].concat())
    }

    /// `connection.start` with properties nested this deep.
    fn start(nested: usize, kind: u8) -> Vec<u8> {
        let mut value = Vec::new();
        for _ in 0..nested {
            let name: &[u8] = if kind == b'F' { b"\x01a" } else { b"" };
            value = [name, &[kind], &long(&value)].concat();
        }
        if kind == b'A' {
            value = [&b"\x01a"[..], &value].concat();
        }
        method(0, 10, 10, &[&[0, 9][..], &long(&value), &long(b"PLAIN"), &long(b"en_US")].concat())
    }

    /// What is passed on of this, received in pieces of this many bytes.
    fn received(inspector: &mut Inspector, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Fault> {
        let mut checked = Vec::new();
        bytes.chunks(piece).try_for_each(|part| inspector.receive(part, &mut checked))?;
        Ok(checked)
    }

    /// An inspector that has sent a message with a body of this many bytes.
    fn sender(bytes: usize) -> Inspector {
        let mut inspector = Inspector::default();
        let sent = [
            &b"AMQP\0\0\x09\x01"[..],
            &frame(HEARTBEAT, 0, b""),
            &method(1, 60, 40, b"\0\0\x01x\x01y\x01"),
            &header(1, bytes as u64, &[0, 0]),
            &frame(BODY, 1, &vec![b'x'; bytes]),
        ]
        .concat();
        sent.chunks(5).for_each(|part| inspector.sent(part));
        assert_eq!((inspector.outgoing.messages, inspector.outgoing.largest), (1, bytes as u64));
        inspector
    }

    fn returned(channel: u16) -> Vec<u8> {
        method(channel, 60, 50, b"\x01\x38\x08NO_ROUTE\x01x\x01y")
    }

    #[test]
    fn frames_are_passed_on_whole_however_they_are_cut() {
        let said = [start(2, b'F'), method(0, 10, 30, &[0; 8]), frame(HEARTBEAT, 0, b""), method(3, 60, 80, &[0; 9])];
        for piece in [1, 7, 8, 9, 10_000] {
            assert_eq!(received(&mut Inspector::default(), &said.concat(), piece).unwrap(), said.concat(), "{piece}");
        }
    }

    #[test]
    fn nested_tables_end_the_connection() {
        for kind in [b'F', b'A'] {
            let deepest = start(BROKER_NESTING, kind);
            assert_eq!(received(&mut Inspector::default(), &deepest, 100).unwrap(), deepest);
            for depth in [BROKER_NESTING + 1, 2_000, 10_000] {
                let said = received(&mut Inspector::default(), &start(depth, kind), 100).unwrap_err();
                assert!(said.contains("each within the next"), "{said}");
            }
        }
        // The same in the headers of a message.
        let nested = &start(BROKER_NESTING + 1, b'F')[HEAD + 6..];
        let headers = [&[0xe0, 0, 1, b'a', 1, b'b'][..], nested].concat();
        let said = received(&mut sender(5), &[returned(1), header(1, 5, &headers)].concat(), 100).unwrap_err();
        assert!(said.contains("each within the next"), "{said}");
    }

    #[test]
    fn frames_beyond_what_was_agreed_on_end_the_connection_before_they_are_read() {
        let head = [&[BODY, 0, 1][..], &u32::MAX.to_be_bytes()].concat();
        assert!(received(&mut Inspector::default(), &head, 100).unwrap_err().contains("at most were agreed on"));
        let largest =
            frame(METHOD, 0, &[&[0, 10, 0, 50][..], &vec![0; BROKER_FRAME as usize - HEAD - END - 4]].concat());
        assert!(received(&mut Inspector::default(), &largest, 1_000).is_ok());
    }

    #[test]
    fn returned_messages_are_passed_on_without_their_bodies() {
        let said = [returned(1), header(1, 5, &[0, 0]), frame(BODY, 1, b"abc"), frame(BODY, 1, b"de")].concat();
        let behind = method(1, 60, 80, &[0; 9]);
        let handed_on = received(&mut sender(5), &[&said[..], &behind].concat(), 3).unwrap();
        assert_eq!(handed_on, [returned(1), header(1, 0, &[0, 0]), behind].concat());
    }

    #[test]
    fn returned_messages_that_were_never_sent_end_the_connection() {
        let refused = |inspector: &mut Inspector, said: &[Vec<u8>], why: &str| {
            let fault = received(inspector, &said.concat(), 100).unwrap_err();
            assert!(fault.contains(why), "{fault}");
        };
        refused(&mut Inspector::default(), &[returned(1)], "more messages than were sent");
        refused(
            &mut sender(5),
            &[returned(1), header(1, 5, &[0, 0]), frame(BODY, 1, b"abcde"), returned(1)],
            "than were sent",
        );
        refused(&mut sender(5), &[returned(1), header(1, 1 << 62, &[0, 0])], "the largest that was sent has 5");
        refused(&mut sender(5), &[returned(1), header(1, 5, &[0; 5_000])], "a header of");
        refused(&mut sender(5), &[returned(1), header(1, 5, &[0, 0]), frame(BODY, 1, b"abcdef")], "nobody asked for");
        refused(&mut sender(5), &[header(1, 5, &[0, 0])], "nobody asked for");
        refused(&mut sender(5), &[frame(BODY, 1, b"a")], "nobody asked for");
        refused(&mut sender(5), &[returned(1), frame(BODY, 1, b"a")], "nobody asked for");
    }

    #[test]
    fn method_of_a_client_or_no_amqp_ends_the_connection() {
        // queue.declare and basic.deliver
        for (class, of_class) in [(50, 10), (60, 60)] {
            let said = received(&mut Inspector::default(), &method(1, class, of_class, &[0; 20]), 100).unwrap_err();
            assert!(said.contains("only a client sends"), "{said}");
        }
        for answer in [&b"HTTP/1.1 400 Bad Request"[..], b"\x15\x03\x03\0\x02\x02\x28", b"AMQP\0\0\x09\x01"] {
            let said = received(&mut Inspector::default(), answer, 100).unwrap_err();
            assert!(said.contains("does not speak AMQP"), "{said}");
        }
        let said = received(&mut Inspector::default(), &method(BROKER_CHANNELS + 1, 20, 11, &[0; 4]), 100);
        assert!(said.unwrap_err().contains("never opened"));
        let short = frame(METHOD, 0, &[0, 10]);
        assert!(received(&mut Inspector::default(), &short, 100).unwrap_err().contains("ends too early"));
    }
}
