//! What a user does on an ordinary day, from the connector's directory to the other side's.

use crate::support::World;

#[test]
fn envelopes_arrive_once_and_in_order() {
    let world = World::new();
    let written: Vec<_> =
        ["b.json", "a.json", "c.json"].iter().map(|n| std::fs::read(world.made(n)).unwrap()).collect();
    world.send(&[]).exits(0).prints("SAFE TO REMOVE");
    world.verify(&[]).exits(0).prints("holds: batch 1");
    world.import(&[]).exits(0).prints("delivered 3 envelopes");
    let delivered = world.delivered_bytes();
    assert_eq!(delivered, written);
    let again = world.import(&[]).exits(0);
    assert_eq!(again.said(), "");
    assert_eq!(world.delivered().len(), 3);
}
