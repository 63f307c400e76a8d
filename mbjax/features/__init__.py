"""What is known of a user and an item before anything is learned: numbers from the pairs, with the user left out.

Every number about (user u, item i) is made of two things: the history of u, from which the pairs that are to be
predicted are taken out, and statistics of all *other* users (how many met an item by each behavior, how many met two
items, one ridge regression). Both the lists that a model learns from and those that it ranks are made so, which is why
a number can be learned from: it never knows its own answer, and it means the same in training and in use. Leaving a
user out needs no second pass; the statistics of all are corrected by what he added to them.
"""
