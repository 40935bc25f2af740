"""Comparators: how alike the answers of baseline and candidate to one request are.

`build_comparators` makes those that a routing document asks for; `check_comparators` says what is wrong with
them. Each takes two answers and gives a Score (see `port`):

    exact      the same status and bytes
    json       share of equal values; numeric tolerance, ignored paths, unordered lists
    text       similarity by insertions and deletions
    tokens     share of agreeing tokens of completions, streamed or whole
    embedding  cosine of vectors
    topk       labels in common among the best k

All of them share `contents`: a failure or another status on one side scores 0, content codings are undone
within bounds, the same bytes score 1, and what can't be read can't be compared. A body that was not kept
whole can only be compared by its digest.

To add one: a module with a class of options (fields are the options, with their bounds and defaults) and a
ContentComparator with `read` (a body to what is compared) and `score` (two of these to a Score), then a line
in `registry.COMPARATORS`. Bound the work that a hostile body can cause, and keep content out of `detail`.
"""
