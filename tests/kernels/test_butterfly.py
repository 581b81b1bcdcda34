"""The butterfly search: against brute force in plain Python, by identities, and for what bad rows do."""

import threading

import numpy as np
import pytest

from kernels import butterfly, status, terminal
from tests.references import butterfly as reference

FEE = 0.0065
LIMITS = butterfly.Limits()
FORWARD = 100.0
DISCOUNT = 0.99
SDS = (0.09, 0.075, 0.1)
POINTS = 4097


def log_mean(sd):
    return np.log(FORWARD) - 0.5 * sd * sd


def make_chain(strikes, seed=0, wide=1.0):
    """Quotes around a lognormal world, calls and puts with spreads of their own."""
    rng = np.random.default_rng(seed)
    strike = np.asarray(strikes, dtype=float)
    put = DISCOUNT * reference.lognormal_put(strike, log_mean(0.088), 0.088)
    call = put + DISCOUNT * (FORWARD - strike)
    quotes = {"strike": strike}
    for name, mid in (("call", call), ("put", put)):
        half = wide * (0.004 + mid * rng.uniform(0.002, 0.02, strike.size))
        quotes[f"{name}_bid"] = np.maximum(np.round(mid - half, 2), 0.0)
        quotes[f"{name}_ask"] = np.round(mid + half + 0.005, 2)
    return quotes


def make_measures(strike, sds=SDS, error=0.03):
    """Lognormal measures; the one source of error is the volatility's, 3 per cent of it."""
    strike = np.atleast_2d(strike)
    grid = np.linspace(40.0, 200.0, POINTS)
    value = np.stack([reference.lognormal_put(strike, log_mean(sd), sd) for sd in sds])
    moved = np.stack([reference.lognormal_put(strike, log_mean(sd * (1 + error)), sd * (1 + error)) for sd in sds])
    cdf = np.stack([reference.lognormal_cdf(grid, log_mean(sd), sd) for sd in sds])
    cdf = np.repeat(cdf[:, None], strike.shape[0], axis=1)
    n = strike.shape[0]
    return butterfly.Measures(value, cdf, np.full(n, 40.0), np.full(n, 160.0 / (POINTS - 1)), (moved - value)[None])


def run(quotes, **options):
    rows = butterfly.Quotes(**quotes)
    return butterfly.search(rows, make_measures(quotes["strike"]), FEE, DISCOUNT, **options)


def distributions(strike, error=0.03):
    def one(sd):
        def shift(i, j, k):
            up = sd * (1 + error)
            moved = reference.lognormal_put(strike, log_mean(up), up) - reference.lognormal_put(
                strike, log_mean(sd), sd
            )
            return abs(moved[i] - 2 * moved[j] + moved[k])

        return (
            lambda x: reference.lognormal_put(x, log_mean(sd), sd),
            lambda x: reference.lognormal_cdf(x, log_mean(sd), sd),
            shift,
        )

    return [one(sd) for sd in SDS]


def accepted(found, limits=LIMITS, fee=FEE):
    """The filters, on what brute force found."""
    good = [f for f in found if f["max_loss"] > 0 and f["max_loss"] >= limits.loss_in_fees * 4 * fee]
    good = [f for f in good if f["max_profit"] >= limits.reward_share * f["max_loss"]]
    return [f for f in good if limits.pop_low <= min(f["pop"]) <= limits.pop_high]


CHAINS = {
    "even strikes": make_chain(np.arange(85.0, 116.0, 2.5)),
    "uneven strikes": make_chain([80, 88, 93, 95, 97, 98, 99, 100.5, 101, 104, 109, 120], seed=1),
    "wide spreads": make_chain(np.arange(84.0, 117.0, 3.0), seed=2, wide=6.0),
    "tight spreads": make_chain(np.arange(88.0, 113.0, 2.0), seed=3, wide=0.1),
    "more than a chunk": make_chain(np.arange(82.0, 118.0, 1.75), seed=4),
}


@pytest.fixture(params=CHAINS.values(), ids=CHAINS.keys(), scope="module")
def searched(request):
    quotes = request.param
    m = len(quotes["strike"])
    result = run(quotes, top=m * (m - 1) * (m - 2) // 6, front=512, front_capacity=2000)
    found = reference.brute_force(quotes, distributions(quotes["strike"]), FEE, DISCOUNT, LIMITS)
    return result, found


def test_counts_are_those_of_brute_force(searched):
    result, found = searched
    assert result.executable[0] == len(found)
    assert result.arbitrages[0] == sum(f["max_loss"] <= 0 for f in found)
    assert result.too_small[0] == sum(0 < f["max_loss"] < 8 * FEE for f in found)
    assert result.eligible[0] == len(accepted(found)) > 20
    assert result.pop_outside[0] == result.executable[0] - sum(
        x[0] for x in (result.arbitrages, result.too_small, result.small_reward, result.eligible)
    )


def test_ranking_is_that_of_brute_force(searched):
    result, found = searched
    good = sorted(accepted(found), key=lambda f: -f["score"])
    np.testing.assert_allclose(result.best.score[0, : len(good)], [f["score"] for f in good], rtol=0, atol=1e-11)
    assert np.isnan(result.best.score[0, len(good) :]).all()
    assert {tuple(x) for x in result.best.legs[0, : len(good)]} == {f["legs"] for f in good}


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("max_loss", "max_loss"),
        ("max_profit", "max_profit"),
        ("break_even_low", "low"),
        ("break_even_high", "high"),
        ("ev", "ev"),
        ("ev_se", "se"),
        ("ev_lcb", "lcb"),
    ],
)
def test_numbers_are_those_of_the_forms_own_payoff(searched, field, key):
    result, found = searched
    by_legs = {f["legs"]: f for f in found}
    count = result.eligible[0]
    expected = np.array([by_legs[tuple(x)][key] for x in result.best.legs[0, :count]], dtype=float)
    # sums of a few numbers of order 100
    np.testing.assert_allclose(getattr(result.best, field)[0, :count], expected, rtol=0, atol=1e-11)


def test_probability_of_profit_agrees_with_the_exact_distribution(searched):
    result, found = searched
    by_legs = {f["legs"]: f for f in found}
    count = result.eligible[0]
    expected = np.array([by_legs[tuple(x)]["pop"] for x in result.best.legs[0, :count]])
    # linear interpolation over 0.039 = 0.4 % of a standard deviation
    np.testing.assert_allclose(result.best.pop[0, :count], expected, rtol=0, atol=2e-6)


def test_form_and_cash_are_the_cheapest(searched):
    result, found = searched
    by_legs = {f["legs"]: f for f in found}
    count = result.eligible[0]
    # forms can tie to the last bit, as quotes are in cents: compare the loss that the chosen form's cash implies
    for place in range(count):
        legs = tuple(result.best.legs[0, place])
        form = butterfly.FORMS[result.best.form[0, place]]
        cash = result.best.cost[0, place]
        if form == by_legs[legs]["form"]:
            assert cash == pytest.approx(by_legs[legs]["cash"], abs=1e-11)
    assert result.best.saving[0, :count].min() >= 0.0


def test_front_is_what_nothing_beats(searched):
    result, _ = searched
    front, best = result.front, result.best
    count = result.eligible[0]
    points = np.stack([best.score[0], best.pop[0].min(axis=1), -best.spread[0] / best.max_loss[0]], axis=1)[:count]
    place = {tuple(x): i for i, x in enumerate(best.legs[0, :count])}
    members = points[[place[tuple(x)] for x in front.legs[0] if x[0] >= 0]]
    assert len(members) == result.front_size[0] > 3
    # 1e-12: a spread summed in another order
    assert not any((points > member + 1e-12).all(axis=1).any() for member in members)
    assert all((members >= point - 1e-12).all(axis=1).any() for point in points)


@pytest.mark.parametrize("errors", [0.0, 2.4477])
def test_the_bound_lies_as_many_errors_below_as_asked(errors):
    limits = LIMITS._replace(errors=errors)
    quotes = CHAINS["tight spreads"]
    result = run(quotes, top=400, limits=limits)
    found = reference.brute_force(quotes, distributions(quotes["strike"]), FEE, DISCOUNT, limits)
    good = sorted(accepted(found, limits), key=lambda f: -f["score"])
    np.testing.assert_allclose(result.best.score[0, : len(good)], [f["score"] for f in good], rtol=0, atol=1e-11)
    assert result.positive[0] == sum(f["score"] > 0.0 for f in good)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(
    ("lowest", "highest"), [(0.0, 1.0), (0.2, 0.6), (0.001, 0.3), (0.6, 0.999), (0.3, 0.3), (0.7, 0.2)]
)
def test_limits_of_the_probability_are_kept(chain, lowest, highest):
    quotes = CHAINS[chain]
    m = len(quotes["strike"])
    size = m * (m - 1) * (m - 2) // 6
    everything = run(quotes, top=size, limits=LIMITS._replace(pop_low=0.0, pop_high=1.0))
    pop = everything.best.pop[0].min(axis=1)
    result = run(quotes, top=size, limits=LIMITS._replace(pop_low=lowest, pop_high=highest))
    inside = (pop >= lowest) & (pop <= highest)
    assert everything.eligible[0] == np.isfinite(pop).sum() > 100
    assert result.eligible[0] == inside.sum()
    assert {tuple(x) for x in result.best.legs[0] if x[0] >= 0} == {tuple(x) for x in everything.best.legs[0][inside]}
    # with a break-even on either side, below only and above only
    if (lowest, highest) == (0.2, 0.6):
        ends = np.isnan(everything.best.break_even_low[0][inside]), np.isnan(everything.best.break_even_high[0][inside])
        assert 0 < ends[0].sum() + ends[1].sum() < inside.sum()


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_small_rewards_are_refused_and_counted(share):
    limits = LIMITS._replace(reward_share=share)
    quotes = CHAINS["even strikes"]
    result = run(quotes, top=400, limits=limits)
    found = reference.brute_force(quotes, distributions(quotes["strike"]), FEE, DISCOUNT, limits)
    good = accepted(found, limits)
    assert {tuple(x) for x in result.best.legs[0] if x[0] >= 0} == {f["legs"] for f in good}
    large = [f for f in found if f["max_loss"] > 0 and f["max_loss"] >= limits.loss_in_fees * 4 * FEE]
    assert result.small_reward[0] == sum(f["max_profit"] < share * f["max_loss"] for f in large) > 0


def test_shrunk_value_is_the_posterior_mean(searched):
    result, found = searched
    good = accepted(found)
    worst = [int(np.argmin(np.subtract(f["ev"], f["se"]))) for f in good]
    x = np.array([f["ev"][w] / f["max_loss"] for f, w in zip(good, worst, strict=True)])
    se = np.array([f["se"][w] / f["max_loss"] for f, w in zip(good, worst, strict=True)])
    mean, excess = min(x.mean(), 0.0), max(x.var() - (se**2).mean(), 0.0)
    top = max(range(len(good)), key=lambda i: good[i]["score"])
    expected = good[top]["max_loss"] * (mean + (x[top] - mean) * excess / (excess + se[top] ** 2))
    np.testing.assert_allclose(result.best.ev_shrunk[0, 0], expected, rtol=1e-9)
    np.testing.assert_allclose([result.prior_mean[0], result.prior_variance[0]], [mean, excess], rtol=1e-9)


def test_where_the_typical_butterfly_gains_the_prior_is_still_nothing():
    quotes = make_chain(np.arange(90.0, 111.0, 2.5), wide=0.1)
    measures = make_measures(quotes["strike"], sds=(0.06,))
    result = butterfly.search(butterfly.Quotes(**quotes), measures, 0.0, DISCOUNT, top=100)
    n = result.eligible[0]
    assert 10 < n < 100
    assert np.mean(result.best.ev[0, :n, 0] / result.best.max_loss[0, :n]) > 0.05
    assert result.prior_mean[0] == 0.0


def test_evaluate_says_the_same_as_the_search(searched, request):
    result, _ = searched
    quotes = CHAINS[request.node.callspec.id]
    again = butterfly.evaluate(
        butterfly.Quotes(**quotes), make_measures(quotes["strike"]), result.best.legs, FEE, DISCOUNT, limits=LIMITS
    )
    for name in set(again._fields) - {"ev_shrunk"}:
        np.testing.assert_array_equal(getattr(again, name), getattr(result.best, name), err_msg=name)


def test_a_put_butterfly_for_less_than_nothing_is_an_arbitrage():
    quotes = make_chain(np.arange(90.0, 111.0, 5.0))
    quotes["put_bid"][2] += 3.0
    quotes["put_ask"][2] += 3.0
    result = run(quotes)
    assert result.arbitrages[0] > 0
    assert result.arbitrage_legs[0, 0, 1] == 2
    assert result.arbitrage_gain[0, 0] > 0
    assert (result.best.max_loss[0] > 0)[result.best.legs[0, :, 0] >= 0].all()


def test_nothing_executable_is_an_empty_answer_not_an_error():
    quotes = make_chain(np.arange(90.0, 111.0, 5.0))
    quotes["put_bid"][:] = quotes["call_bid"][:] = 0.0
    result = run(quotes)
    assert result.status[0] == status.OK
    assert result.executable[0] == 0
    assert (result.best.legs == -1).all()
    assert np.isnan(result.best.ev).all()
    assert (result.best.form == -1).all()


def test_a_wide_wing_is_not_used():
    quotes = make_chain(np.arange(90.0, 111.0, 2.5))
    quotes["put_ask"][1] = quotes["put_bid"][1] + 2.0
    quotes["call_ask"][1] = quotes["call_bid"][1] + 4.0
    result = run(quotes, top=100)
    assert not (result.best.legs[0] == 1).any()


def batch(n=6):
    width = 30
    rows = []
    for i in range(n):
        chain = make_chain(np.arange(84.0, 116.0, 1.4 + 0.3 * i), seed=i)
        rows.append({k: np.pad(v, (0, width - v.size), constant_values=np.nan) for k, v in chain.items()})
    return {k: np.stack([r[k] for r in rows]) for k in rows[0]}


def measures_of(quotes, pick=slice(None)):
    m = make_measures(quotes["strike"])
    return butterfly.Measures(
        m.put_value[:, pick], m.cdf[:, pick], m.grid_low[pick], m.grid_step[pick], m.put_shift[:, :, pick]
    )


def search_rows(quotes, pick=slice(None), measures=None):
    rows = butterfly.Quotes(**{k: v[pick] for k, v in quotes.items()})
    return butterfly.search(rows, measures or measures_of(quotes, pick), FEE, DISCOUNT)


def flat(result):
    for name, part in result._asdict().items():
        if isinstance(part, butterfly.Butterflies):
            yield from ((f"{name}.{k}", v) for k, v in part._asdict().items())
        else:
            yield name, part


def test_same_bits_alone_and_in_any_company():
    quotes = batch()
    together = dict(flat(search_rows(quotes)))
    for i in range(6):
        for name, value in flat(search_rows(quotes, [i])):
            np.testing.assert_array_equal(value[0], together[name][i], err_msg=name)
    for name, value in flat(search_rows(quotes, slice(None, None, -1))):
        np.testing.assert_array_equal(value[::-1], together[name], err_msg=name)


def test_same_bits_in_every_thread():
    quotes = batch()
    expected = search_rows(quotes).best.score
    results = [None] * 4

    def work(i):
        results[i] = search_rows(quotes).best.score

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for r in results:
        np.testing.assert_array_equal(r, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.0])
@pytest.mark.parametrize("field", ["strike", "call_bid", "call_ask", "put_bid", "put_ask"])
def test_a_bad_quote_touches_no_other_row(field, value):
    quotes = batch()
    clean = search_rows(quotes)
    measures = measures_of(quotes)
    bad = {k: v.copy() for k, v in quotes.items()}
    bad[field][2, 5] = value
    result = search_rows(bad, measures=measures)
    others = [0, 1, 3, 4, 5]
    for (name, after), (_, before) in zip(flat(result), flat(clean), strict=True):
        np.testing.assert_array_equal(after[others], before[others], err_msg=name)
    if field != "strike":
        assert result.status[2] == status.OK
    elif np.isnan(value):
        assert not (result.best.legs[2] == 5).any()
    else:
        assert result.status[2] == status.BAD_INPUT


@pytest.mark.parametrize("field", ["put_value", "cdf", "put_shift", "grid_low", "grid_step"])
def test_a_hole_in_a_table_is_bad_input_for_its_row_only(field):
    quotes = batch()
    measures = measures_of(quotes)
    table = np.array(getattr(measures, field))
    table[(Ellipsis, 2, 3) if table.ndim > 1 else 2] = np.nan
    result = search_rows(quotes, measures=measures._replace(**{field: table}))
    assert result.status.tolist() == [0, 0, status.BAD_INPUT, 0, 0, 0]
    assert (result.best.legs[2] == -1).all()
    assert (result.best.legs[3, 0] >= 0).all()


def test_a_measure_that_a_row_lacks_is_left_out_of_it():
    quotes = batch(2)
    full = measures_of(quotes)
    value, cdf = full.put_value.copy(), full.cdf.copy()
    value[1, 0], cdf[1, 0] = np.nan, np.nan
    partial = search_rows(quotes, measures=full._replace(put_value=value, cdf=cdf))
    fewer = butterfly.Measures(
        full.put_value[[0, 2]], full.cdf[[0, 2]], full.grid_low, full.grid_step, full.put_shift[:, [0, 2]]
    )
    expected = search_rows(quotes, measures=fewer)
    np.testing.assert_array_equal(partial.best.score[0], expected.best.score[0])
    np.testing.assert_array_equal(partial.best.legs[0], expected.best.legs[0])
    assert np.isnan(partial.best.ev[0, :, 1]).all()
    assert np.isfinite(partial.best.ev[1, 0]).all()


def test_two_strikes_are_too_few():
    quotes = make_chain([95.0, 105.0])
    assert run(quotes).status[0] == status.TOO_FEW_DATA


def test_empty_batch():
    empty = butterfly.Quotes(*(np.empty((0, 5)) for _ in range(5)))
    tables = butterfly.Measures(np.empty((2, 0, 5)), np.empty((2, 0, 9)), np.empty(0), np.empty(0))
    result = butterfly.search(empty, tables, np.empty(0))
    assert result.best.ev.shape == (0, 10, 2)
    assert result.status.shape == (0,)


def test_shapes_that_do_not_fit_raise():
    quotes = batch(2)
    with pytest.raises(ValueError, match="put_value"):
        search_rows(quotes, measures=measures_of(quotes, [0]))
    with pytest.raises(ValueError, match="shape"):
        butterfly.search(
            butterfly.Quotes(**quotes)._replace(call_bid=np.zeros((2, 3))), measures_of(quotes), FEE, DISCOUNT
        )


def test_sixty_strikes_have_34220_butterflies():
    result = run(make_chain(np.linspace(70, 130, 60)))
    assert result.combinations[0] == 34220


def test_simulation_error_is_the_pnl_sd_over_root_paths():
    quotes = make_chain(np.arange(90.0, 111.0, 2.5))
    strike = quotes["strike"][None]
    base = make_measures(strike, sds=(0.09,), error=0.0)
    sample = np.exp(log_mean(0.09) + 0.09 * np.random.default_rng(0).standard_normal(4000))
    value = np.maximum(strike[0] - sample[:, None], 0).mean(axis=0)[None, None]
    square = (np.maximum(strike[0] - sample[:, None], 0) ** 2).mean(axis=0)[None, None]
    measures = base._replace(put_value=value, put_square=square, put_shift=None, paths=[4000.0])
    result = butterfly.search(butterfly.Quotes(**quotes), measures, FEE, DISCOUNT, top=100)
    for place in range(result.eligible[0]):
        k1, k2, k3 = strike[0, result.best.legs[0, place]]
        pnl = DISCOUNT * reference.put_payoff(sample, k1, k2, k3)
        # differences of squares of order 1e3: eleven digits of the variance
        assert result.best.pnl_sd[0, place, 0] == pytest.approx(pnl.std(), rel=1e-9)
        assert result.best.ev_se[0, place, 0] == pytest.approx(pnl.std() / np.sqrt(4000), rel=1e-9)
    scores = result.best.score[0, : result.eligible[0]]
    assert (np.diff(scores) <= 1e-12).all()
    assert result.eligible[0] > 20


def test_all_forms_are_found_cheapest_somewhere():
    forms = set()
    for quotes in CHAINS.values():
        forms |= set(run(quotes, top=1000).best.form.ravel().tolist())
    assert {0, 1, 2} <= forms


def test_doubling_prices_doubles_money_and_keeps_the_ranking():
    quotes = batch(1)
    measures = measures_of(quotes)
    rows = butterfly.Quotes(**quotes)
    limits = butterfly.Limits(spread_floor=0.0)
    one = butterfly.search(rows, measures, FEE, DISCOUNT, limits=limits)
    two = butterfly.search(
        butterfly.Quotes(*(2 * np.asarray(q) for q in rows)),
        butterfly.Measures(
            2 * measures.put_value, measures.cdf, 2 * measures.grid_low, 2 * measures.grid_step, 2 * measures.put_shift
        ),
        2 * FEE,
        DISCOUNT,
        limits=limits,
    )
    np.testing.assert_array_equal(one.best.legs, two.best.legs)
    np.testing.assert_allclose(two.best.ev, 2 * one.best.ev, rtol=0, atol=1e-12)  # doubling is exact
    np.testing.assert_allclose(two.best.pop, one.best.pop, rtol=0, atol=1e-12)


def with_squares(strike):
    tables = [terminal.lognormal(strike[None, :], 40.0, 0.1, log_mean(sd), sd, points=POINTS) for sd in SDS]
    return make_measures(strike)._replace(put_square=np.stack([table.put_square for table in tables]))


@pytest.mark.parametrize("chain", CHAINS)
def test_the_front_has_four_sides(chain):
    quotes = CHAINS[chain]
    measures = with_squares(quotes["strike"])
    result = butterfly.search(
        butterfly.Quotes(**quotes), measures, FEE, DISCOUNT, top=2000, front=512, front_capacity=2000, per="sd"
    )
    best, count = result.best, result.eligible[0]
    sd = best.pnl_sd[0, :, 0]
    sides = best.ev_lcb[0] / sd, best.pop[0].min(axis=1), -best.spread[0] / best.max_loss[0], -sd / best.max_loss[0]
    points = np.stack(sides, axis=1)[:count]
    place = {tuple(x): i for i, x in enumerate(best.legs[0, :count])}
    members = [place[tuple(x)] for x in result.front.legs[0] if x[0] >= 0]
    assert len(members) == result.front_size[0]
    # 1e-9: the search and the description add up squares and probabilities in other orders
    for i in range(count):
        if i in members:
            assert not (points > points[i] + 1e-9).all(axis=1).any()
        else:
            assert (points[members] >= points[i] - 1e-9).all(axis=1).any()
    three = [
        i for i in range(count) if not (np.delete(points[:, :3], i, axis=0) >= points[i, :3] - 1e-9).all(axis=1).any()
    ]
    assert set(three) < set(members)


@pytest.mark.parametrize("per", ["max_loss", "sd"])
@pytest.mark.parametrize("chain", CHAINS)
def test_quotes_below_their_smile_are_luck_and_give_no_credit(chain, per):
    quotes = CHAINS[chain]
    strike = quotes["strike"]
    smile = reference.lognormal_put(strike, log_mean(0.088), 0.088)
    without = with_squares(strike)
    rows = butterfly.Quotes(**quotes)
    plain = butterfly.search(rows, without, FEE, DISCOUNT, top=2000, per=per).best
    result = butterfly.search(rows, without._replace(smile_value=smile[None]), FEE, DISCOUNT, top=2000, per=per)
    best, count = result.best, result.eligible[0]
    place = {tuple(x): i for i, x in enumerate(plain.legs[0, :count])}
    lucky = 0
    for i in range(count):
        legs = tuple(best.legs[0, i])
        k1, k2, k3 = strike[list(legs)]
        form = butterfly.FORMS[best.form[0, i]]
        bought, sold = reference._legs(form, *legs, quotes)
        middle = sum(
            0.5 * (bid[at] + ask[at]) * sign for side, sign in ((bought, 1), (sold, -1)) for bid, ask, at in side
        )
        # all forms pay what the put form pays, less a constant
        constant = {"put": 0.0, "call": k1 + k3 - 2.0 * k2, "iron": k3 - k2}[form]
        value = smile[legs[0]] - 2.0 * smile[legs[1]] + smile[legs[2]] - constant
        luck = max(DISCOUNT * value - middle, 0.0)
        lucky += luck > 0.0
        assert best.luck[0, i] == pytest.approx(luck, abs=1e-11)
        assert best.ev_lcb[0, i] == pytest.approx(plain.ev_lcb[0, place[legs]] - luck, abs=1e-11)
    assert 0 < lucky < count
    by = best.max_loss[0] if per == "max_loss" else best.pnl_sd[0, :, 0]
    ranked = (best.ev_lcb[0] / by)[:count]
    assert (np.diff(ranked) <= 1e-12).all()
    assert result.positive[0] == (ranked > 0.0).sum()
    assert (plain.luck[0, :count] == 0.0).all()


def test_a_hole_in_a_smile_is_bad_input_and_no_smile_is_none():
    quotes = batch()
    measures = measures_of(quotes)
    smile = np.array(measures.put_value[0])
    smile[2, 3], smile[4] = np.nan, np.nan
    result = search_rows(quotes, measures=measures._replace(smile_value=smile))
    assert result.status.tolist() == [0, 0, status.BAD_INPUT, 0, 0, 0]
    np.testing.assert_array_equal(result.best.score[4], search_rows(quotes).best.score[4])
    with pytest.raises(ValueError, match="smile_value"):
        search_rows(quotes, measures=measures._replace(smile_value=smile[:2]))


@pytest.mark.parametrize("factors", [1, 3, 5])
def test_any_number_of_sources_of_error_adds_up(factors):
    quotes = CHAINS["even strikes"]
    measures = with_squares(quotes["strike"])
    whole = np.asarray(measures.put_shift)
    parts = np.stack(
        [whole[0] * share for share in np.sqrt(np.arange(1, factors + 1) / np.arange(1, factors + 1).sum())]
    )
    rows = butterfly.Quotes(**quotes)
    one = butterfly.search(rows, measures, FEE, DISCOUNT, top=500, per="sd")
    many = butterfly.search(rows, measures._replace(put_shift=parts), FEE, DISCOUNT, top=500, per="sd")
    np.testing.assert_allclose(many.best.ev_se, one.best.ev_se, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(many.best.score, one.best.score, rtol=0, atol=1e-11)
    np.testing.assert_allclose(many.prior_variance, one.prior_variance, rtol=1e-9)
    assert many.positive[0] == one.positive[0]


def test_ranking_by_the_standard_deviation_is_that_of_brute_force():
    quotes = CHAINS["more than a chunk"]
    strike = quotes["strike"]
    measures = with_squares(strike)
    rows = butterfly.Quotes(**quotes)
    everything = butterfly.search(rows, measures, FEE, DISCOUNT, top=1500, per="max_loss")
    result = butterfly.search(rows, measures, FEE, DISCOUNT, top=1500, per="sd")
    n = everything.eligible[0]
    by_loss = {tuple(x): i for i, x in enumerate(everything.best.legs[0, :n])}
    value = everything.best.ev_lcb[0, :n] / everything.best.pnl_sd[0, :n, 0]
    order = [value[by_loss[tuple(x)]] for x in result.best.legs[0, :n]]
    np.testing.assert_allclose(order, np.sort(value)[::-1], rtol=0, atol=1e-11)
    assert result.positive[0] == everything.positive[0]
    with pytest.raises(ValueError, match="put_square"):
        butterfly.search(rows, make_measures(strike), FEE, DISCOUNT, per="sd")
