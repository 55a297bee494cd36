use super::*;
use proptest::prelude::*;

const ALL: Span = Span { from_s: 0, until_s: 1_000_000 };

fn rule(after: u64, until: u64, bridge: u64) -> OutageRule {
    OutageRule { after, until, bridge }
}

fn runs(text: &str) -> Vec<Run> {
    let states = text.chars().map(|c| match c {
        'U' => Some(State::Up),
        'D' => Some(State::Down),
        _ => None,
    });
    (0..).zip(states).filter_map(|(i, s)| s.map(|state| Run { first: i, last: i, state })).collect()
}

/// The timeline with each window labelled as it counts.
fn labelled(text: &str, rule: OutageRule) -> String {
    let found = outages(&runs(text), &Grid::new(60, &Spans::one(ALL)), rule);
    let inside = |i: i64| found.ranges.iter().any(|&(first, last)| (first..=last).contains(&i));
    let label = |(i, c): (i64, char)| match c {
        _ if inside(i) => 'D',
        'D' => 'U',
        other => other,
    };
    (0..).zip(text.chars()).map(label).collect()
}

#[test]
fn worked_timelines() {
    for (text, rule, expected) in [
        // T6
        ("UDDDDU", rule(5, 1, 2), "UUUUUU"),
        ("UDDDDDDDU", rule(5, 1, 2), "UDDDDDDDU"),
        ("UDDXDDDU", rule(5, 1, 2), "UDDDDDDU"),
        // one is enough
        ("UDU", rule(1, 1, 2), "UDU"),
        ("D", rule(1, 1, 2), "D"),
        ("D", rule(2, 1, 2), "U"),
        // Unknown runs
        ("DXXD", rule(1, 1, 2), "DDDD"),
        ("DXXXD", rule(1, 1, 2), "DXXXD"),
        ("DXXD", rule(1, 1, 1), "DXXD"),
        ("DXXU", rule(1, 1, 2), "DXXU"),
        ("DXX", rule(1, 1, 2), "DXX"),
        ("DXXXD", rule(2, 1, 2), "UXXXU"),
        ("DXD", rule(2, 1, 0), "UXU"),
        ("DXD", rule(2, 1, 1), "DDD"),
        ("DXDXD", rule(3, 1, 1), "DDDDD"),
        ("DXUXD", rule(2, 1, 2), "UXUXU"),
        // too few Up windows
        ("DDUDD", rule(2, 2, 2), "DDDDD"),
        ("DDUUDD", rule(2, 2, 2), "DDUUDD"),
        ("DDUXUDD", rule(2, 2, 2), "DDUXUDD"),
        ("DDU", rule(2, 2, 2), "DDU"),
        ("DDUXXXDD", rule(2, 2, 2), "DDUXXXDD"),
        ("DDUXXDD", rule(2, 2, 2), "DDDDDDD"),
        ("DDUUU", rule(2, 3, 2), "DDUUU"),
        ("DDUUD", rule(2, 3, 2), "DDDDD"),
    ] {
        assert_eq!(labelled(text, rule), expected, "{text} {rule:?}");
    }
}

#[test]
fn at_worst_all_that_is_not_known_is_down() {
    let grid = Grid::new(60, &Spans::one(Span { from_s: 0, until_s: 600 }));
    let worst = |text: &str, rule| outages_at_worst(&runs(text), &grid, rule).ranges;
    assert_eq!(worst("", rule(11, 1, 2)), []);
    assert_eq!(worst("", rule(10, 1, 2)), [(0, 9)]);
    assert_eq!(worst("UUUUUUUUUU", rule(1, 1, 0)), []);
    assert_eq!(worst("UDDUUUUUUU", rule(3, 1, 2)), [], "nothing is to come");
    assert_eq!(worst("UDDUUUUUUX", rule(3, 1, 2)), []);
    assert_eq!(worst("UDDX", rule(3, 1, 2)), [(1, 9)]);
    assert_eq!(worst("UDDU", rule(2, 2, 2)), [(1, 9)], "one Up window does not end it");
    assert_eq!(worst("UDDUU", rule(2, 2, 2)), [(1, 2), (5, 9)]);
    assert_eq!(worst("XDUUUUUUUU", rule(2, 1, 2)), [(0, 1)]);
    let endless = Grid::new(1, &Spans::one(Span::ALWAYS));
    let all = outages_at_worst(&runs("U"), &endless, rule(u64::MAX, 1, 2)).ranges;
    assert_eq!(all, [], "windows are not walked one by one");
}

/// An outage from 17:58 to 08:03 the next morning, with hours from 08 to 18, is 2 + 3 windows of service time.
#[test]
fn time_outside_service_is_taken_out_first() {
    let hours = Spans::from_sorted([
        Span { from_s: 8 * 3_600, until_s: 18 * 3_600 },
        Span { from_s: 32 * 3_600, until_s: 42 * 3_600 },
    ]);
    let grid = Grid::new(60, &hours);
    let at = |hour: i64, minute: i64| hour * 60 + minute;
    let run = |first, last, state| Run { first, last, state };
    let timeline = [
        run(at(8, 0), at(17, 57), State::Up),
        run(at(17, 58), at(32, 2), State::Down),
        run(at(32, 3), at(41, 59), State::Up),
    ];
    let found = outages(&timeline, &grid, rule(5, 1, 2));
    assert_eq!(found.ranges, [(at(17, 58), at(32, 2))]);
    let (first, last) = found.ranges[0];
    assert_eq!(hours.within(grid.span(first, last)).seconds(), 300);
    assert_eq!(outages(&timeline, &grid, rule(6, 1, 2)).ranges, []);
}

#[test]
fn a_window_cut_by_a_pause_counts_once() {
    let service =
        Spans::from_sorted([Span { from_s: 0, until_s: 70 }, Span { from_s: 80, until_s: 240 }]);
    let grid = Grid::new(60, &service);
    let all = Run { first: -5, last: 10, state: State::Down };
    assert_eq!(grid.numbered(all).collect::<Vec<_>>(), [(0, 1, 0), (2, 3, 2)]);
}

/// The language's sentences, applied one after the other to the whole timeline.
fn model(states: &[Option<State>], rule: OutageRule) -> Vec<bool> {
    let mut down = vec![false; states.len()];
    // Stretches between Unknown runs that are too long to be neutral.
    let mut start = 0;
    while start < states.len() {
        let Some(first) = (start..states.len()).find(|&i| states[i].is_some()) else { break };
        let mut end = first;
        let mut unknown = 0;
        for (i, state) in states.iter().enumerate().skip(first) {
            unknown = if state.is_none() { unknown + 1 } else { 0 };
            if unknown > rule.bridge {
                break;
            }
            if state.is_some() {
                end = i;
            }
        }
        stretch(&states[..=end], first, rule, &mut down);
        start = end + 1;
    }
    down
}

fn stretch(states: &[Option<State>], from: usize, rule: OutageRule, down: &mut [bool]) {
    let known: Vec<usize> = (from..states.len()).filter(|&i| states[i].is_some()).collect();
    let is_down = |k: usize| states[known[k]] == Some(State::Down);
    let mut k = 0;
    while k < known.len() {
        let downs = (k..known.len()).take_while(|&j| is_down(j)).count();
        if downs == 0 || (downs as u64) < rule.after {
            k += downs.max(1);
            continue;
        }
        // The outage goes on until `until` consecutive Up windows, or the end.
        let mut last = k + downs - 1;
        let mut ups = 0;
        let mut j = last + 1;
        while j < known.len() && ups < rule.until {
            if is_down(j) {
                (last, ups) = (j, 0);
            } else {
                ups += 1;
            }
            j += 1;
        }
        down[known[k]..=known[last]].fill(true);
        k = last + 1;
    }
}

fn state() -> impl Strategy<Value = Option<State>> {
    prop_oneof![Just(None), Just(Some(State::Up)), Just(Some(State::Down))]
}

proptest! {
    #[test]
    fn machine_and_model_agree(
        states in prop::collection::vec(state(), 0..60),
        after in 1_u64..5, until in 1_u64..5, bridge in 0_u64..4,
    ) {
        let rule = rule(after, until, bridge);
        let runs: Vec<Run> = (0..)
            .zip(&states)
            .filter_map(|(i, s)| s.map(|state| Run { first: i, last: i, state }))
            .collect();
        let found = outages(&runs, &Grid::new(60, &Spans::one(ALL)), rule);
        let mut down = vec![false; states.len()];
        for (first, last) in found.ranges {
            down[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()].fill(true);
        }
        prop_assert_eq!(&down, &model(&states, rule));
        // At worst: the same with every Unknown window Down, and no window that is Down now is Up then.
        let end = i64::try_from(states.len()).unwrap() * 60;
        let grid = Grid::new(60, &Spans::one(Span { from_s: 0, until_s: end }));
        let mut at_worst = vec![false; states.len()];
        for (first, last) in outages_at_worst(&runs, &grid, rule).ranges {
            at_worst[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()].fill(true);
        }
        let filled: Vec<_> = states.iter().map(|state| state.or(Some(State::Down))).collect();
        prop_assert_eq!(&at_worst, &model(&filled, rule));
        prop_assert!(at_worst.iter().zip(&down).all(|(worst, now)| *worst || !now));
    }
}
