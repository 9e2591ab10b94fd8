"""The frozen distance formula and the beam search, against brute force."""

import itertools

import pytest
import torch

from eulerodec.quantize import beam_search, nearest, search_tables
from eulerodec.quantize.search import look_up


def error(x, codebooks, codes):
    """|x - sum of codes|^2 of each vector, in float64."""
    total = sum(book[index] for book, index in zip(codebooks.double(), codes.t(), strict=True))
    return (x.double() - total).square().sum(-1)


def brute_force(x, codebooks):
    """Least error over all combinations of codes."""
    size = codebooks.shape[1]
    combinations = torch.tensor(list(itertools.product(range(size), repeat=len(codebooks))))
    sums = sum(b[i] for b, i in zip(codebooks.double(), combinations.t(), strict=True))
    distance = (x.double()[:, None] - sums).square().sum(-1)
    return distance.min(1).values


def residual_source(n, dim, stages, size, seed):
    """Vectors and codebooks whose stages get finer, as in a trained quantiser."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=generator)
    scale = 0.6 ** torch.arange(stages)
    books = torch.randn(stages, size, dim, generator=generator) * scale[:, None, None]
    return x, books


@pytest.mark.parametrize(("dim", "size"), [(1, 7), (16, 300), (128, 2048)])
def test_nearest_is_the_argmin_of_the_distance_except_for_ties(dim, size):
    x, books = residual_source(500, dim, 1, size, seed=dim)
    found = nearest(x, books[0])
    distance = torch.cdist(x.double(), books[0].double())
    best = distance.min(1).values
    chosen = distance.gather(1, found[:, None])[:, 0]
    # where another index wins in float64, the two are as good as equal
    assert torch.allclose(chosen, best, rtol=1e-5, atol=1e-6)
    assert (found == distance.argmin(1)).float().mean() > 0.99
    assert found.dtype == torch.int64 and found.shape == (500,)


def test_nearest_and_the_greedy_search_take_the_first_of_equal_codes():
    book = torch.tensor([[5.0, 0.0], [1.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
    x = torch.tensor([[1.0, 1.0], [0.9, 1.2], [-3.0, 0.0]])
    assert nearest(x, book).tolist() == [1, 1, 3]
    assert beam_search(x, book[None], beam=1)[:, 0].tolist() == [1, 1, 3]


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_the_tree_finds_the_best_combination(seed):
    x, books = residual_source(40, 3, 3, 5, seed)
    best = brute_force(x, books)
    codes = beam_search(x, books, beam=25)  # all paths of two stages
    assert torch.allclose(error(x, books, codes), best, rtol=1e-4, atol=1e-5)


def test_beam_1_is_greedy():
    x, books = residual_source(200, 8, 4, 32, seed=1)
    codes = beam_search(x, books, beam=1)
    residual = x.double()
    for stage, book in enumerate(books.double()):
        distance = (residual[:, None] - book).square().sum(-1)
        chosen = distance.gather(1, codes[:, stage, None])[:, 0]
        assert torch.allclose(chosen, distance.amin(1), rtol=1e-4, atol=1e-5)
        residual = residual - book[codes[:, stage]]


def test_a_wider_beam_is_better():
    """Of all vectors together, and of nearly every single one.

    No pruned search can promise it for every vector: the greedy path may fall out of the beam at a
    middle stage and yet win at the end. With two stages it cannot, see the next test.
    """
    x, books = residual_source(400, 8, 6, 32, seed=2)
    errors = [error(x, books, beam_search(x, books, beam)) for beam in (1, 2, 4, 8, 16)]
    for narrow, wide in itertools.pairwise(errors):
        assert wide.mean() < narrow.mean()
    worse = errors[-1] > errors[0] * (1 + 1e-5)
    assert worse.float().mean() < 0.02
    assert errors[-1].mean() < 0.85 * errors[0].mean()


@pytest.mark.parametrize("beam", [2, 3, 16, 64])
def test_with_two_stages_a_beam_is_never_worse_than_greedy(beam):
    x, books = residual_source(300, 6, 2, 24, seed=3)
    greedy = error(x, books, beam_search(x, books, 1))
    assert (error(x, books, beam_search(x, books, beam)) <= greedy * (1 + 1e-5)).all()


def test_beam_wider_than_the_first_codebook():
    x, books = residual_source(10, 2, 3, 4, seed=4)
    assert beam_search(x, books, beam=100).shape == (10, 3)
    assert torch.equal(beam_search(x, books, 100), beam_search(x, books, 16))


def test_vectors_are_coded_each_for_itself():
    x, books = residual_source(30, 8, 3, 64, seed=5)
    together = beam_search(x, books, 4)
    apart = torch.cat([beam_search(row[None], books, 4) for row in x])
    assert (together == apart).all(1).float().mean() > 0.9


@pytest.mark.parametrize(("n", "beam"), [(3, 3), (50, 2), (170, 3)])
def test_the_paths_are_those_of_a_plain_beam_search_in_float64(n, beam):
    """At the real sizes, where few and many vectors are computed in different ways."""
    x, books = residual_source(n, 128, 5, 2048, seed=6)
    paths = [[((), row)] for row in x.double()]
    for stage, book in enumerate(books.double()):
        kept_now = beam if stage < 3 else (beam + 1) // 2
        for number, kept in enumerate(paths):
            children = []
            for codes, rest in kept:
                distance = (rest - book).square().sum(-1)
                children += [(float(distance[i]), (*codes, i), rest - book[i])
                             for i in distance.argsort()[:kept_now].tolist()]  # fmt: skip
            children.sort(key=lambda child: child[0])
            paths[number] = [(codes, rest) for _, codes, rest in children[:kept_now]]
    expected = torch.tensor([kept[0][0] for kept in paths])
    assert (beam_search(x, books, beam) == expected).all(1).float().mean() > 0.98


@pytest.mark.parametrize("size", [256, 512, 2048])
@pytest.mark.parametrize("beam", [2, 5])
def test_of_large_codebooks_too_the_best_children_are_kept(size, beam):
    x, books = residual_source(60, 5, 2, size, seed=7)
    codes = beam_search(x, books, beam)
    # with two stages: the best of all codes of the second after the best `beam` of the first
    first = torch.cdist(x.double(), books[0].double()).topk(beam, largest=False).indices
    rest = x.double()[:, None] - books[0].double()[first]
    distance = (rest[:, :, None] - books[1].double()).square().sum(-1)
    assert torch.allclose(error(x, books, codes), distance.flatten(1).min(1).values, rtol=1e-4)


def ragged():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator)
    books = torch.randn(5, 16, 6, generator=generator) * 0.7 ** torch.arange(5)[:, None, None]
    return x, books, torch.randint(0, 6, (40,), generator=generator)


@pytest.mark.parametrize("beam", [1, 3])
def test_with_depths_each_vector_is_searched_to_its_own(beam):
    x, books, depth = ragged()
    found = beam_search(x, books, beam, depth=depth)
    assert set(depth.tolist()) == set(range(6))
    for row, codes, deep in zip(x, found, depth.tolist(), strict=True):
        assert (codes[deep:] == -1).all()
        assert torch.equal(codes[:deep], beam_search(row[None], books[:deep], beam)[0])
    assert (beam_search(x, books, beam, depth=0 * depth) == -1).all()


def test_absent_codes_add_nothing():
    x, books, depth = ragged()
    codes = beam_search(x, books, 3, depth=depth)
    expected = [
        sum((books[k, codes[n, k]] for k in range(int(depth[n]))), torch.zeros(6))
        for n in range(len(x))
    ]
    torch.testing.assert_close(look_up(codes, books), torch.stack(expected))
    assert (look_up(torch.full((3, 5), -1), books) == 0).all()


@pytest.mark.parametrize("beam", [1, 4])
def test_codebooks_stored_in_half_give_what_their_numbers_give(beam):
    x, books, depth = ragged()
    half = books.half()
    assert torch.equal(half.float().half(), half)
    transposed, norms = search_tables(half)
    assert transposed.dtype == norms.dtype == torch.float32
    assert torch.equal(transposed, half.float().transpose(1, 2))
    torch.testing.assert_close(norms.double(), half.double().square().sum(-1))
    codes = beam_search(x, half, beam, depth=depth)
    assert torch.equal(codes, beam_search(x, half.float(), beam, depth=depth))
    assert torch.equal(look_up(codes, half), look_up(codes, half.float()))
