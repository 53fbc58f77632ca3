//! Brokers and platforms that say what none should: our limits hold, and no secret of ours is shown.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::feeds::Feeds;
use crate::support::{Unjudged, finish};

const PASSWORD: &str = "a-secret/of the tests";

/// What such a broker does once a client has begun to speak with it.
#[derive(Clone, Copy)]
enum Lie {
    /// It proposes frames of this size, and then refuses the virtual host, with the login in its words.
    Frames(u32),
    /// Its properties hold so many tables, each within the next.
    Nested(usize),
    /// It returns each message as one of this size, and goes on sending.
    Returned(u64),
}

struct Liar {
    stream: TcpStream,
    /// `channel_max`, `frame_max` and `heartbeat` of `tune-ok`.
    login: String,
}

impl Liar {
    /// One on loopback; its port.
    fn start(lie: Lie) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client that hangs up is what the tests are about.
                thread::spawn(move || Liar { stream, login: String::new() }.serve(lie).unwrap_or_default());
            }
        });
        port
    }

    fn serve(&mut self, lie: Lie) -> std::io::Result<()> {
        self.stream.read_exact(&mut [0; 8])?;
        let nested = if let Lie::Nested(depth) = lie { depth } else { 0 };
        let properties = (0..nested).fold(Vec::new(), |inner, _| [&b"\x01aF"[..], &long(&inner)].concat());
        self.method(0, 10, 10, &[&[0, 9][..], &long(&properties), &long(b"PLAIN"), &long(b"en_US")].concat())?;
        let start_ok = self.frame()?.2;
        self.login = start_ok.iter().map(|b| format!("{b:02x}")).collect();
        let frames = if let Lie::Frames(size) = lie { size } else { 0 };
        self.method(0, 10, 30, &[&[0, 0][..], &frames.to_be_bytes(), &[0, 0]].concat())?;
        let tune_ok = self.frame()?.2;
        assert_eq!(tune_ok[4..10], [7, 255, 0, 2, 0, 0], "our own channels and frames");
        self.frame()?;
        if let Lie::Frames(_) = lie {
            let words = format!("NOT_ALLOWED - {PASSWORD} {}", &self.login[self.login.len().saturating_sub(150)..]);
            return self.method(0, 10, 50, &[&530_u16.to_be_bytes()[..], &short(&words), &[0, 10, 0, 40]].concat());
        }
        self.method(0, 10, 41, &[0])?;
        self.answer(lie)
    }

    /// Answers questions, and each message with a lie.
    fn answer(&mut self, lie: Lie) -> std::io::Result<()> {
        loop {
            let (kind, channel, payload) = self.frame()?;
            let of = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            match (kind, of(0), of(2)) {
                (1, 60, 40) => {
                    let Lie::Returned(size) = lie else { return Ok(()) };
                    let returned = [&312_u16.to_be_bytes()[..], &short("NO_ROUTE"), &short("x"), &short("y")].concat();
                    self.method(channel, 60, 50, &returned)?;
                    let header = [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat();
                    self.send(2, channel, &header)?;
                    loop {
                        self.send(3, channel, &[0; 100_000])?;
                    }
                }
                (1, 50, 10) => {
                    self.method(channel, 50, 11, &[&short("q")[..], &[0; 8]].concat())?;
                }
                (1, 20, 10) => self.method(channel, 20, 11, &long(b""))?,
                (1, class, method) if [10, 20, 40, 50].contains(&method) => {
                    self.method(channel, class, method + 1, &[])?;
                }
                _ => {}
            }
        }
    }

    fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) -> std::io::Result<()> {
        let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat();
        self.send(1, channel, &payload)
    }

    fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) -> std::io::Result<()> {
        let size = u32::try_from(payload.len()).unwrap();
        let frame = [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[0xce]].concat();
        self.stream.write_all(&frame)
    }

    /// The next frame that is no heartbeat: type, channel and payload.
    fn frame(&mut self) -> std::io::Result<(u8, u16, Vec<u8>)> {
        loop {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head)?;
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let mut payload = vec![0; size + 1];
            self.stream.read_exact(&mut payload)?;
            payload.pop();
            if head[0] != 8 {
                return Ok((head[0], u16::from_be_bytes([head[1], head[2]]), payload));
            }
        }
    }
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// An import of one envelope to such a broker, in a process that may not take 600 MB.
fn import(lie: Lie) -> Unjudged {
    let feeds = Feeds::new(1);
    feeds.put(0, 1);
    feeds.send();
    std::fs::write(feeds.world.path("password"), PASSWORD).unwrap();
    let to = format!("amqp://somebody@127.0.0.1:{}", Liar::start(lie));
    let password = ["--amqp-password-file", "password", "--patience", "2s"];
    let import = feeds.import_to(&to, &password);
    let mut limited = std::process::Command::new("prlimit");
    limited.arg("--data=600000000").arg(import.get_program()).args(import.get_args());
    limited.current_dir(import.get_current_dir().unwrap());
    finish(&mut limited)
}

#[test]
fn broker_without_a_limit_on_frames_is_given_ours() {
    for size in [0, u32::MAX, 1 << 28] {
        let run = import(Lie::Frames(size)).exits(1).mentions("NOT_ALLOWED").mentions("virtual host");
        let in_hex: String = PASSWORD.bytes().map(|b| format!("{b:02x}")).collect();
        run.mentions("(secret)").says_nothing_of(PASSWORD).says_nothing_of(&in_hex);
    }
}

#[test]
fn broker_with_tables_within_tables_is_refused() {
    for depth in [17, 5_000] {
        import(Lie::Nested(depth)).exits(1).mentions("each within the next");
    }
}

#[test]
fn broker_that_returns_an_endless_message_is_disconnected() {
    import(Lie::Returned(1 << 62)).exits(1).mentions("the largest that was sent has");
}

#[test]
fn name_that_resembles_localhost_is_no_loopback() {
    let feeds = Feeds::new(1);
    feeds.put(0, 1);
    feeds.send();
    // In full width: a URL's rules make `localhost` of it, the system's resolver does not.
    let name = "\u{ff4c}\u{ff4f}calhost";
    let run = finish(&mut feeds.import_to("amqp://guest@127.0.0.1:1", &["--amqp-host", name, "--patience", "1s"]));
    run.exits(2).mentions("without TLS").mentions("--plaintext");
}

#[test]
fn platform_that_repeats_the_token_does_not_get_it_shown() {
    let token = "0f3c1b2a-5e4d-4c3b-8a29-token-of-tests";
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let to = format!("opencti+http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let mut asked = [0; 4_096];
            let _ = stream.read(&mut asked);
            let body = format!(
                r#"{{"errors":[{{"message":"bad header authorization: Bearer {token}","extensions":{{"code":"E-{token}"}}}}]}}"#
            );
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    let feeds = Feeds::new(1);
    feeds.put(0, 1);
    feeds.send();
    std::fs::write(feeds.world.path("token"), token).unwrap();
    for json in [&[][..], &["--json"]] {
        let more = [&["--token-file", "token", "--patience", "1s"][..], json].concat();
        let run = finish(&mut feeds.import_to(&to, &more)).exits(1).says_nothing_of(token);
        assert!(!run.stdout.contains(token), "{run:#?}");
    }
}
