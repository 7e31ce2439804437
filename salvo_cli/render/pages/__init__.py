"""Reports as web pages: one file each, whole in itself, for people who were not at the terminal.

Owns the sheet that every page is written on, and the plots. What always holds: a page runs no script and
loads nothing, and says so to the browser (Content-Security-Policy); every text in it is escaped; it can be
read in print and in the dark.
"""
