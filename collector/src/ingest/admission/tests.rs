use super::*;

const RATE: u32 = 500;

type Door = Admission<u32, u32>;

/// Addresses from this on come in blocks of 100,000.
const BLOCKS_FROM: u32 = 1_000_000;
const BLOCK: u32 = 100_000;

fn door(rate_per_s: u32) -> Door {
    Door::new(rate_per_s, |address| (address >= BLOCKS_FROM).then_some(address / BLOCK * BLOCK))
}

/// All handshakes that may begin now.
fn begin(door: &mut Door, now: Instant) -> Vec<Begin<u32, u32>> {
    std::iter::from_fn(|| door.next(now)).collect()
}

/// Lets time pass in small steps, each handshake taking `each`; gives what began, and when.
fn run(door: &mut Door, from: Instant, until: Instant, each: Duration) -> Vec<(Instant, u32)> {
    let (mut now, mut began, mut under_way) = (from, Vec::new(), VecDeque::new());
    while now < until {
        while under_way.front().is_some_and(|(end, _, _)| *end <= now) {
            let (_, address, ticket) = under_way.pop_front().expect("looked at");
            door.ended(address, ticket);
        }
        door.sweep(now);
        for one in begin(door, now) {
            under_way.push_back((now + each, one.address, one.ticket));
            began.push((now, one.address));
        }
        now += Duration::from_millis(1);
    }
    began
}

#[test]
fn a_small_fleet_waits_for_nothing_and_a_large_one_for_the_rate() {
    let now = Instant::now();
    let mut door = door(RATE);
    (0..1_000).for_each(|agent| assert_eq!(door.arrive(agent, agent, now), None));
    assert_eq!(begin(&mut door, now).len(), 64, "the burst");
    let second = now + Duration::from_secs(1);
    let later = run(&mut door, now, second, Duration::from_millis(5));
    assert!((490..=501).contains(&later.len()), "{}", later.len());
    let order: Vec<u32> = later.iter().map(|(_, address)| *address).collect();
    assert!(order.is_sorted(), "who came first begins first");
    assert!(door.wake_at().is_some());
}

#[test]
fn after_a_quiet_time_there_is_a_burst_and_no_more() {
    let now = Instant::now();
    let mut door = door(RATE);
    door.arrive(0, 0, now);
    assert_eq!(begin(&mut door, now).len(), 1);
    let later = now + Duration::from_secs(3600);
    (1..200).for_each(|agent| assert_eq!(door.arrive(agent, agent, later), None));
    assert_eq!(begin(&mut door, later).len(), 64);
}

#[test]
fn a_flood_from_one_address_delays_nobody_else() {
    let now = Instant::now();
    let mut door = door(RATE);
    let mut refused = 0;
    for connection in 0..10_000 {
        refused += u32::from(door.arrive(666, connection, now).is_some());
    }
    assert_eq!(refused, 10_000 - 256, "its share of the places");
    assert_eq!(begin(&mut door, now).len(), 32, "its share of the handshakes");
    (0..20).for_each(|agent| assert_eq!(door.arrive(agent, agent, now), None));
    // The flood's handshakes never end.
    let began = begin(&mut door, now);
    assert_eq!(began.len(), 20);
    assert!(began.iter().all(|one| one.address != 666));
}

#[test]
fn who_says_nothing_gives_way_when_all_places_are_taken() {
    let start = Instant::now();
    let mut door = door(RATE);
    // Twenty addresses that open what they can and say nothing.
    for address in 1_000..1_020 {
        for connection in 0..200 {
            door.arrive(address, connection, start);
        }
    }
    run(&mut door, start, start + Duration::from_secs(2), Duration::from_secs(3600));
    assert_eq!(door.handshakes(), HANDSHAKES_MAX);
    let now = start + Duration::from_secs(2);
    assert_eq!(door.arrive(1, 1, now).map(|(_, why)| why), None);
    let began = run(&mut door, now, now + Duration::from_millis(200), Duration::from_secs(3600));
    assert!(began.iter().any(|(_, address)| *address == 1), "{began:?}");
    assert_eq!(door.handshakes(), HANDSHAKES_MAX);
}

#[test]
fn equals_do_not_displace_each_other() {
    let now = Instant::now();
    let mut door = door(1_000_000);
    let minute = now + Duration::from_secs(60);
    for agent in 0..u32::try_from(HANDSHAKES_MAX).expect("few") {
        door.arrive(agent, agent, minute);
        let micro = minute + Duration::from_micros(u64::from(agent));
        assert_eq!(begin(&mut door, micro).len(), 1);
    }
    door.arrive(9_999, 0, minute);
    assert!(begin(&mut door, minute + Duration::from_secs(1)).is_empty(), "each has one");
    door.ended(0, 1);
    let began = begin(&mut door, minute + Duration::from_secs(1));
    assert_eq!(began.len(), 1);
    assert_eq!((began[0].address, began[0].instead_of), (9_999, None));
}

#[test]
fn the_queue_is_bounded_in_length_and_in_time() {
    let now = Instant::now();
    let mut door = door(RATE);
    let many = u32::try_from(WAITING_MAX).expect("few");
    (0..many).for_each(|agent| assert_eq!(door.arrive(agent, agent, now), None));
    assert_eq!(door.arrive(many, many, now), Some((many, Refused::Crowded)));
    assert_eq!(door.waiting(), WAITING_MAX);
    assert!(door.sweep(now + WAIT_MAX - Duration::from_millis(1)).is_empty());
    assert_eq!(door.sweep(now + WAIT_MAX + SWEEP_EVERY).len(), WAITING_MAX);
    assert_eq!((door.waiting(), door.wake_at().is_some()), (0, false));
    assert!(door.blocks.is_empty());
    assert!(begin(&mut door, now + WAIT_MAX * 2).is_empty(), "nobody is left");
    assert!(door.places.is_empty() && door.turns.is_empty(), "and nothing of them");
}

#[test]
fn a_place_goes_from_who_has_many_to_who_has_none() {
    let now = Instant::now();
    let mut door = door(RATE);
    for address in 0..4 {
        (0..256).for_each(|connection| assert_eq!(door.arrive(address, connection, now), None));
    }
    let displaced = door.arrive(9, 0, now);
    assert_eq!(displaced, Some((255, Refused::Displaced)));
    assert_eq!(door.waiting(), WAITING_MAX);
}

#[test]
fn whatever_happens_the_counts_are_those_of_the_queues() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut door = door(random.u32(1..2_000));
        let (mut now, mut under_way) = (Instant::now(), Vec::new());
        for step in 0..2_000 {
            now += Duration::from_micros(random.u64(..20_000));
            match random.u8(..4) {
                0 | 1 => {
                    let alone = random.u32(..24);
                    let in_block = BLOCKS_FROM + random.u32(..2) * BLOCK + random.u32(..400);
                    let address = if random.bool() { alone } else { in_block };
                    let _closed = door.arrive(address, step, now);
                }
                2 if !under_way.is_empty() => {
                    let (address, ticket) = under_way.swap_remove(random.usize(..under_way.len()));
                    door.ended(address, ticket);
                }
                _ => drop(door.sweep(now)),
            }
            for one in begin(&mut door, now) {
                under_way.retain(|(_, ticket)| Some(*ticket) != one.instead_of);
                under_way.push((one.address, one.ticket));
            }
            let (waiting, handshakes) = door.places.values().fold((0, 0), |sum, place| {
                (sum.0 + place.waiting.len(), sum.1 + place.handshakes.len())
            });
            assert_eq!((waiting, handshakes), (door.waiting, door.handshakes));
            assert_eq!(handshakes, under_way.len());
            let in_turn = door.places.values().filter(|place| place.is_in_turn).count();
            let parked: usize = door.blocks.values().map(|block| block.parked.len()).sum();
            assert_eq!(in_turn, door.turns.len() + parked);
            door.blocks.iter().for_each(|(block, together)| check_block(&door, *block, together));
        }
    }
}

/// What a block has is what its addresses have, and none is parked while the block could do more.
fn check_block(door: &Door, block: u32, together: &Block<u32>) {
    let of_block = |address: &u32| (door.block_of)(*address) == Some(block);
    let places = door.places.iter().filter(|(address, _)| of_block(address));
    let (waiting, handshakes) = places.fold((0, 0), |sum, (_, place)| {
        (sum.0 + place.waiting.len(), sum.1 + place.handshakes.len())
    });
    assert_eq!((waiting, handshakes), (together.waiting, together.handshakes));
    assert!(waiting <= BLOCK_WAITING_MAX && handshakes <= BLOCK_HANDSHAKES_MAX);
    let could = handshakes < BLOCK_HANDSHAKES_MAX && !door.turns.iter().any(of_block);
    assert!(together.parked.is_empty() || !could, "{together:?}");
}

#[test]
fn a_block_of_addresses_keeps_nobody_out() {
    let start = Instant::now();
    let mut door = door(RATE);
    // Somebody comes once from each of 60,000 networks and says nothing; others come from elsewhere, in IPv6 and IPv4.
    let (mut now, mut crowded, mut began) = (start, 0, Vec::new());
    for network in 0..60_000 {
        let closed = door.arrive(BLOCKS_FROM + network, 0, now);
        crowded += u32::from(closed.is_some_and(|(_, why)| why == Refused::Crowded));
        if network % 100 == 0 {
            for honest in [network, BLOCKS_FROM + BLOCK + network] {
                assert_eq!(door.arrive(honest, 1, now), None);
            }
        }
        for one in begin(&mut door, now) {
            match one.connection {
                1 => door.ended(one.address, one.ticket),
                _ => assert!(one.address < BLOCKS_FROM + BLOCK),
            }
            assert_eq!(one.instead_of, None, "there is room");
            began.push((one.address, now));
        }
        assert!(door.handshakes() <= BLOCK_HANDSHAKES_MAX);
        assert!(door.places.len() <= 2_000, "what is swept away is forgotten");
        door.sweep(now);
        now += Duration::from_micros(500);
    }
    assert!(crowded > 50_000, "{crowded}");
    let honest =
        began.iter().filter(|(address, _)| !(BLOCKS_FROM..BLOCKS_FROM + BLOCK).contains(address));
    assert_eq!(honest.count(), 1_200, "each of them, and none was closed");
}

#[test]
fn blocks_that_hold_the_whole_queue_give_way() {
    let now = Instant::now();
    let mut door = door(RATE);
    let each = u32::try_from(BLOCK_WAITING_MAX).expect("few");
    for network in 0..each {
        for block in [BLOCKS_FROM, BLOCKS_FROM + BLOCK] {
            assert_eq!(door.arrive(block + network, 0, now), None);
        }
    }
    assert_eq!(door.waiting(), WAITING_MAX);
    for (newcomer, connection) in [(9, 1), (BLOCKS_FROM + 2 * BLOCK, 2), (10, 3)] {
        assert_eq!(door.arrive(newcomer, connection, now), Some((0, Refused::Displaced)));
    }
    assert_eq!(door.waiting(), WAITING_MAX);
}

#[test]
fn in_a_full_block_who_has_many_gives_way() {
    let now = Instant::now();
    let mut door = door(RATE);
    for network in 0..2 {
        let all = 0..u32::try_from(ADDRESS_WAITING_MAX).expect("few");
        all.for_each(|one| assert_eq!(door.arrive(BLOCKS_FROM + network, one, now), None));
    }
    let displaced = door.arrive(BLOCKS_FROM + 9, 1_000, now);
    assert_eq!(displaced, Some((255, Refused::Displaced)));
    assert_eq!(door.waiting(), BLOCK_WAITING_MAX);
}

#[test]
fn a_block_that_is_honest_comes_in_at_the_rate() {
    let start = Instant::now();
    let mut door = door(RATE);
    for network in 0..u32::try_from(BLOCK_WAITING_MAX).expect("few") {
        assert_eq!(door.arrive(BLOCKS_FROM + network, 0, start), None);
    }
    let full = door.arrive(BLOCKS_FROM + 9_999, 0, start);
    assert_eq!(full, Some((0, Refused::Crowded)));
    let end = start + Duration::from_secs(1);
    let began = run(&mut door, start, end + WAIT_MAX * 2, Duration::from_millis(200));
    let in_time = began.iter().filter(|(at, _)| *at < end).count();
    assert!(in_time >= 500, "{in_time}");
    assert!(door.places.is_empty() && door.turns.is_empty());
    assert!(door.blocks.is_empty());
}

#[test]
fn a_fleet_comes_back_as_fast_as_it_is_admitted() {
    assert_eq!(reconnect_within(0, RATE), WITHIN_MIN);
    assert_eq!(reconnect_within(3, RATE), WITHIN_MIN);
    assert_eq!(reconnect_within(10_000, RATE), Duration::from_secs(25));
    assert_eq!(reconnect_within(10_000, rate_of(4)), Duration::from_millis(6_250));
    assert_eq!(reconnect_within(usize::MAX, 0), WITHIN_MAX);
}
