//! A bare publisher: lapin and nothing else, beside which airpouch is measured. `publish PORT MESSAGES [CHANNELS]`:
//! MESSAGES has one body a line, its queue before it and a tab between. It prints messages and seconds, from the
//! connection to the last confirm.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks open what they have made themselves")]

use std::collections::VecDeque;
use std::time::Instant;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties, PublisherConfirm};

const WINDOW: usize = 2_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, file, rest @ ..] = arguments.as_slice() else { panic!("publish PORT MESSAGES [CHANNELS]") };
    let text = std::fs::read_to_string(file).unwrap();
    let messages: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    let channels: usize = rest.first().map_or(4, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seconds = runtime.block_on(publish(&format!("amqp://127.0.0.1:{port}/%2f"), &messages, channels));
    println!("{} {seconds}", messages.len());
}

async fn publish(url: &str, messages: &[(&str, &str)], channels: usize) -> f64 {
    let started = Instant::now();
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let mut lanes = Vec::new();
    for _ in 0..channels {
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        lanes.push((channel, VecDeque::new()));
    }
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    for (at, (queue, body)) in messages.iter().enumerate() {
        let (channel, window) = &mut lanes[at % channels];
        if window.len() >= WINDOW {
            confirmed(window.pop_front().unwrap()).await;
        }
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_encoding("utf-8".into());
        window.push_back(
            channel.basic_publish("".into(), (*queue).into(), options, body.as_bytes(), properties).await.unwrap(),
        );
    }
    for (_, window) in lanes {
        for confirm in window {
            confirmed(confirm).await;
        }
    }
    started.elapsed().as_secs_f64()
}

async fn confirmed(confirm: PublisherConfirm) {
    assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None));
}
